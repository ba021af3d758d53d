"""The kandinsky6_sr family."""
