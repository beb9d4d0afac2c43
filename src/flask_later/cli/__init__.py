"""``flask later ...``: one file for each group of commands."""
