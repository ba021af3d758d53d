"""The approx family."""
