"""The asymmetric family."""
