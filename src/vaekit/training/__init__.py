"""Training: objectives, the training loop, moving averages and runs. Independent of the domain."""
