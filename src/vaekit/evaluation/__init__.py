"""What a VAE does to data, under a recorded protocol. Nothing here knows what kind of data it is."""
