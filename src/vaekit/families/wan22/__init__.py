"""The wan22 family."""
