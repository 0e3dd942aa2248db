"""Images of a report: which are shown, and their predictions under each variant."""
