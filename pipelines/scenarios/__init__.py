"""Journey tests: scenarios told in plain words, played through the cores that the pipeline itself uses."""
