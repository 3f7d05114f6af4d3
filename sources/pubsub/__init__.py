"""Pub/Sub: reading a subscription as a stream, feeding a topic, and the server for trials and tests."""
