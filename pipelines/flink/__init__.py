"""Flink as the engine of a stream: the job server on this machine, its options, the job.

``java`` finds a Java that fits, ``job_server`` starts and stops the process, ``options`` turns settings into Beam's
options, ``job`` submits, waits and cancels.
"""
