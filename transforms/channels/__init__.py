"""The ways out: one module a channel, each with an idempotency key, its own retries and its own rate."""
