"""Fetching: data sets from their publishers, held against known digests, unpacked within limits."""
