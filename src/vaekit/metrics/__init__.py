"""Scores: pure functions of images (and a few small networks). They do not know where the images come from."""
