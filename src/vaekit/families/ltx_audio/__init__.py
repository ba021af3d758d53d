"""The ltx-audio family."""
