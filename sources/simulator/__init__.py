"""A world of customers with its truth: people, devices, stages, signals, actions and their effects, and bad data.

Read in this order: ``config`` (what can be set), ``people`` and ``paths`` (who there is, and the truth about them),
``actions`` (what actions change), ``sessions``, ``sharing`` and ``elsewhere`` (what people do), ``introductions`` (what
names them), ``life`` (all of it, for a chunk of people), ``arrival`` (faults on the way), ``avro`` and ``spill``
(files), ``truth``, ``world`` (the whole), ``respond`` (playing on).
"""
