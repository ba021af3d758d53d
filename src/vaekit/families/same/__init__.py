"""The same family."""
