"""Names of the files from which a report is made again; each lies beside its page."""

COUNTS = "counts.npz"
RECOMPUTE = "recompute.py"
"""Our own file of that name, as it is."""
RECORDS = "records.json"
SOURCES = (COUNTS, RECOMPUTE, RECORDS)
