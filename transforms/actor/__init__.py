"""The streaming host of a keyed stage: one actor a shard, its log in Beam state, its records in memory.

``core`` is what a stage implements, ``segments`` the bookkeeping of the log, ``batch`` groups a bundle by shard,
``held`` keeps records between bundles, ``host`` is the stateful DoFn.
"""
