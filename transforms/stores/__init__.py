"""What outlives a run: the stores, each behind one small interface."""
