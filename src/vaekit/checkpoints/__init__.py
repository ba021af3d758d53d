"""Load, save and convert VAE checkpoints. Loading is strict and never runs code from a file."""
