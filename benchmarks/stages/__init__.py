"""Stages against the truth of simulated worlds: what the pipeline's own fold answers, and how often it is right."""
