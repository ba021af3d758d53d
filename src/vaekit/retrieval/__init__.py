"""Retrieval: embed items as vectors, store them on disk, find their neighbors, and measure how well they are found."""
