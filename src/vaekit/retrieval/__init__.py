"""Retrieval: embed items as vectors, store them on disk, and find their nearest neighbors."""
