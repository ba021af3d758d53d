"""The parts family."""
