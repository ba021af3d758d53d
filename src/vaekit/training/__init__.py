"""From data to weights: objectives, a moving average, one readable loop. Knows nothing of images, text or sound."""
