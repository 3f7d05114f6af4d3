"""How right identity is, measured against the truth of simulated worlds: the only place that reads it.

``agreement`` (the measures), ``evidence`` (what the pipeline sees of each event), ``truth`` (who it was), ``assigned``
(whom rules, a naive union and an all-knowing reader give it to), ``causes`` (why an event went wrong), ``report``.
"""
