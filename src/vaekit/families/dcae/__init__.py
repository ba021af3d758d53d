"""The dcae family."""
