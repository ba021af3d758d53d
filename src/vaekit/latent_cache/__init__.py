"""Caches of latents: the encoded items of a data set, in shards that name the VAE that made them."""
