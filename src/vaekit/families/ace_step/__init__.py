"""The ace-step family."""
