"""Checking an ontology for what it can never do: reasoning about conditions, and the findings."""
