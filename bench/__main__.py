"""`python -m bench`: bench's own commands, as the engines start them."""

from bench.cli import app

if __name__ == "__main__":
    app()
