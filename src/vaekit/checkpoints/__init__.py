"""Disk <-> VAE: formats, naming schemes, known models. Strict, and nothing in a file is ever run."""
