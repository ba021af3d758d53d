"""Weights files -> named tensors: what each file format means, and what a hostile file may not do."""
