"""The version of fcn-bench, stated here alone: the build, records and commands read it."""

__version__ = "0.2.0"
