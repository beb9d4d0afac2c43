"""The module that apps import stays small."""

from __future__ import annotations

import gzip
from importlib.resources import files


def test_the_module_is_small_on_the_wire() -> None:
    """At most 2 kB when compressed, as any server sends it; nobody has to minify it."""
    module = files("flask_later.web.operations") / "static" / "later-follow.js"
    assert len(gzip.compress(module.read_bytes())) <= 2_000
