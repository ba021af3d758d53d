"""The vq family."""
