"""Scores: pure functions of pictures (and a few small networks). Nothing here knows where the pictures come from."""
