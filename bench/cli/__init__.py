"""Commands over runs, data and networks: exec, predict, heatmap, profile, runs, data."""
