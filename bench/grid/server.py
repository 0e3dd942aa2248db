"""What the warm engine's server loads: a run's code, and an end that takes no time.

It has to be gone within a second of its engine, and torch takes longer to be taken down. Runs are
forked from it and end by themselves; there is nothing else to be put away. To be imported by that
server alone: whoever imports it ends with exit code 0.
"""

import atexit
import os

from bench.importing import importing

with importing():
    import bench.run.execute  # noqa: F401

atexit.register(os._exit, 0)
