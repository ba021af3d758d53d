"""The dac family."""
