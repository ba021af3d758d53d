"""Weights of pretrained networks that metrics and losses need: LPIPS, Inception, OCR."""
