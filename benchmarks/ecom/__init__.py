"""The story that the tables tell of a real shop's half year."""
