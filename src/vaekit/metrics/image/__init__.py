"""Metrics of images and their reconstructions."""
