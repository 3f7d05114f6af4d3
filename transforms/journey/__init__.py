"""The journey stage: strands become sessions, signals, stages; pure, hosted by ``stage``."""
