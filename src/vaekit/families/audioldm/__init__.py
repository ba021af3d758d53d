"""The audioldm family."""
