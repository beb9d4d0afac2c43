"""Ours against its peers in one run: ``make bench``. See README.md."""
