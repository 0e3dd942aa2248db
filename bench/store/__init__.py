"""The store: a folder per run, written by one at a time, read without locks."""
