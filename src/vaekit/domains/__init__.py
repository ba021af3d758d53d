"""Kinds of data: images, tables, text, molecules, music. What is above asks a domain, and does not distinguish them
itself."""

DOMAINS = ("images", "tables", "text", "molecules", "music")
"""Their names, which are those of their packages."""
