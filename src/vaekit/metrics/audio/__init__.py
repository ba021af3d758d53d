"""Measures of waveforms (b, channels, t) with values in [-1, 1]: pure functions."""
