"""Scores of how normal items are, their reasons, statistics of normal data, and thresholds."""
