"""What ``make bench`` and others of its kind run: the whole pipeline and its parts, measured from outside."""
