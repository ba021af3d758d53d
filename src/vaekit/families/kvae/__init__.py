"""The kvae family."""
