"""The cogvideox family."""
