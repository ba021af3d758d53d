"""The kl family."""
