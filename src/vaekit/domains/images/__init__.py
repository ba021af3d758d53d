"""Images: files <-> tensors (b, 3, h, w) in [-1, 1], sRGB."""
