"""Scores: pure functions of images (and a few small networks). Nothing here knows where the images come from."""
