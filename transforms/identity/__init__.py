"""Identity: which identifiers are one person. Pure: rules, evidence, resolution; no Beam and no database."""
