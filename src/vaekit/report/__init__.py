"""What a VAE does to pictures: measured, put into words, and shown on a page."""
