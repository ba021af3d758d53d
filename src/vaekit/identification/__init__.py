"""Identify which VAE a set of named tensors holds: family, config, latent normalization, padding."""
