"""ablations asks: questions as YAML specs, expanded into a plan of runs; the front door."""
