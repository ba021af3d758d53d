"""Generated test images: the same pixels for the same seed on every machine."""
