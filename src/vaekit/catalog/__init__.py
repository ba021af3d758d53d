"""Known VAEs and latent spaces as records, read from TOML tables here and in the families. Imports no torch."""
