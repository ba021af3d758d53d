"""The longcat family."""
