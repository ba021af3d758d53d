"""Images made by code: the same numbers from the same seed on every machine, no files. They know no VAE."""
