"""The rae family."""
