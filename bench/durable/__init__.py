"""Queues that outlive their processes: the producer in one process, the worker in another."""
