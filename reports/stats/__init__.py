"""Statistics: frames of results to estimates, intervals and tests."""
