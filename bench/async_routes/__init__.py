"""Async routes: what a 202 and a poll cost, and what operations in flight weigh."""
