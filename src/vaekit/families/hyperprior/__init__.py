"""The hyperprior family."""
