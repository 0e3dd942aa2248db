"""Intake: a stranger's folder looked at, and described so that it runs as it is."""
