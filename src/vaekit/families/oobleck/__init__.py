"""The oobleck family."""
