"""Readers of data sets: published ones, drawn shapes, folders of one's own."""
