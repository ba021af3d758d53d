"""The catalog of known VAEs and latent spaces, read from TOML tables here and in the families. Imports no torch."""
