"""The pytest plugin: it makes a failed assertion of our contracts show its values.

No fixture: ``run_all(app)`` and ``advance(app, 60)`` take the app that a test has anyway, under
whatever name; a fixture would have to guess that name, and would hide an import.
"""

from __future__ import annotations

import pytest

# Before anybody imports them: assertions are rewritten at the import.
pytest.register_assert_rewrite(
    "flask_later.testing.engine_contract", "flask_later.testing.store_contract"
)
