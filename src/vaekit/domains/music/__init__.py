"""Symbolic music: excerpts of melodies, drums and polyphony, as tokens on a grid."""
