"""One command a module; heavy libraries are imported inside its function."""
