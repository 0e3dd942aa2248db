"""Results: records and counts of a plan's runs as tidy frames."""
