"""The vibevoice family."""
