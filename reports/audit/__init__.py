"""What sources send, counted in one pass over their events: coverage, overlap, order in time, and what is missing."""
