"""Conversion: published weights of other frameworks as a file that a backbone of timm loads."""
