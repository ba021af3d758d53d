"""Paths between latents."""
