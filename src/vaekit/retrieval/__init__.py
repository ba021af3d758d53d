"""Retrieval: embed items as vectors, and measure how well their neighbors are found."""
