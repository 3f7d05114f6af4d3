"""Decide: which of the policy's candidates to do at a moment of a journey, and why not the others.

``policy`` reads and checks policy files, ``asking`` evaluates them at a moment, ``plans`` follows sequences with waits,
``decide`` walks a journey's moments in order. All of it is pure: no Beam, no store, no clock.
"""
