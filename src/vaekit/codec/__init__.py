"""Entropy coding with VAEs: exact probabilities, bits-back coding, files."""
