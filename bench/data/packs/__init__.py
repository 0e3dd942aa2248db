"""Data sets decoded once, checked, and mapped into memory by all runs."""
