"""bench measures: one run trained and evaluated, many runs executed, everything kept in a store."""
