"""The wan family."""
