"""The kvae-audio family."""
