"""The last stage: every stage's rows become parts, a commit makes them visible at once, views show what is true now."""
