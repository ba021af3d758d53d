"""Kinds of data: images, tables, text. What is above asks a domain, and does not distinguish them itself."""

DOMAINS = ("images", "tables", "text")
"""Their names, which are those of their packages."""
