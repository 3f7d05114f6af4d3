"""Where events come from: importer, simulator."""
