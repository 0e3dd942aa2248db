"""Simulations of how claims are decided, whose truth is known: for `reports.simulate`."""
