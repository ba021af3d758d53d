"""Kinds of data: images, tables, text, molecules, music, audio. What is above asks a domain, and does not distinguish
them itself."""

DOMAINS = ("images", "tables", "text", "molecules", "music", "audio")
"""Their names, which are those of their packages."""
