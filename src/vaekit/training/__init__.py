"""From data to weights: objectives, a moving average, one readable loop. Knows nothing of pictures, text or sound."""
