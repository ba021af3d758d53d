"""Kinds of data: images, tables, text, molecules. What is above asks a domain, and does not distinguish them itself."""

DOMAINS = ("images", "tables", "text", "molecules")
"""Their names, which are those of their packages."""
