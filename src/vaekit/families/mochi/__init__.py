"""The mochi family."""
