"""The feature vector: one declaration, one pure function, and the Feast objects made from it."""
