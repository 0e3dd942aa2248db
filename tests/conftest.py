"""One thread for each worker: the workers share the cores."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
