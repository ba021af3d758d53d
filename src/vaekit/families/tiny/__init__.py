"""The tiny family."""
