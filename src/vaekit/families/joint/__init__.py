"""The joint family."""
