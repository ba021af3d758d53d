"""Evaluate VAEs on data of any domain, with a recorded protocol."""
