"""Foreign rows to events, by a declarative mapping file."""
