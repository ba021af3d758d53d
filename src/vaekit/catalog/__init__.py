"""Facts about known VAEs and latent spaces, in TOML, and the records that hold them. Imports no torch."""
