"""Terms of training objectives."""
