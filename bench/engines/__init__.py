"""Ours on PostgreSQL and each engine, beside the bare engine."""
