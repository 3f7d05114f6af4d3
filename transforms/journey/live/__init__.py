"""Journeys while they happen: the records and running machines of one shard of persons. Pure but for the store ports.

``messages`` orders what the strand stage says, ``machine`` folds and stages one journey and goes on, ``stating`` finds
the rows that are new or changed, ``deciding`` asks the policies and the effect store, ``journeys`` does all of it for
the persons of a batch together, ``entries`` writes records down, and ``core`` is what a shard actor hosts.
"""
