"""Exact truth of the worlds that have one, a file a mathematics."""
