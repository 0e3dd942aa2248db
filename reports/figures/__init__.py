"""Figures: estimates as drawings."""
