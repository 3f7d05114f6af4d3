"""What stages exchange: frozen dataclasses, their Avro schemas and their Beam coders."""
