"""What a VAE does to images: measured, put into words, and shown on a page."""
