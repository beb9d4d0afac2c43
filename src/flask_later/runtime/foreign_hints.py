"""Refusing hints at jobs of another store: two apps share a broker, or web and worker differ."""

from __future__ import annotations

import itertools

from flask_later.core.job import Hint
from flask_later.core.store import Store
from flask_later.logs import Log

_logger = Log(__name__)


class ForeignHints:
    """Tells those of other stores than *store* from its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counter = itertools.count(1)

    def refuse(self, hint: Hint | None) -> bool:
        """Whether *hint* is to be refused; the first, the second, the fourth are logged."""
        if hint is None or hint.store == self._store.identity:
            return False
        number = next(self._counter)
        if number.bit_count() == 1:
            _logger.error(
                "a hint of store %s was refused, this worker uses store %s (%d so far). Give web "
                "and worker the same LATER_STORE, and each app a broker of its own. See: flask "
                "later doctor",
                hint.store,
                self._store.identity,
                number,
            )
        return True
