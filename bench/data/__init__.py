"""Images and labels: datasets by name, packed once, batches drawn from (seed, step)."""
