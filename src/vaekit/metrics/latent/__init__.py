"""Metrics of latents and codes."""
