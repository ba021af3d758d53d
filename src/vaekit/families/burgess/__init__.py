"""The burgess family."""
