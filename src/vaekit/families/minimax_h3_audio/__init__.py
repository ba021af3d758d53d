"""The minimax-h3-audio family."""
