"""The encodec family."""
