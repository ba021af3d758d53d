"""Pretrained networks for metrics and losses: LPIPS, Inception, OCR."""
