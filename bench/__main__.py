"""`python -m bench`: bench's own commands, as the engines start them."""

from bench.cli.app import app
from bench.cli.command import run_app

if __name__ == "__main__":
    run_app(app)
