"""The ltx family."""
