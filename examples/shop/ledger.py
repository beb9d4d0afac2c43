"""What the shop has sold, and what can be learned of it. Each year's ledger is drawn by lot."""

from __future__ import annotations

import csv
import io
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import NamedTuple

PRICES = {"mug": 9, "cup": 7, "pot": 24, "plate": 11, "bowl": 12, "spoon": 4, "tray": 19, "jug": 21}
YEARS = range(2020, 2027)
ORDERS_A_MONTH = 48_000

Order = tuple[str, ...]


class Row(NamedTuple):
    """How one item has sold in a month."""

    month: int
    item: str
    sold: int
    revenue: int
    bought_with: str


def orders(year: int, month: int) -> Iterator[Order]:
    """Read a month's orders, each some different items."""
    lot = random.Random(f"{year}-{month}")
    items = list(PRICES)
    for _ in range(ORDERS_A_MONTH):
        yield tuple(lot.sample(items, lot.choice((1, 2, 2, 3, 4))))


def rows(year: int, month: int) -> Iterator[Row]:
    """Count what was sold, and what was bought together most often."""
    sold: Counter[str] = Counter()
    together: Counter[Order] = Counter()
    for order in orders(year, month):
        sold.update(order)
        together.update(combinations(sorted(order), 2))
    for item, price in PRICES.items():
        pairs = {pair: count for pair, count in together.items() if item in pair}
        best = max(pairs, key=lambda pair: pairs[pair])
        [other] = {*best} - {item}
        yield Row(month, item, sold[item], sold[item] * price, other)


def revenue(report: Iterable[Row], month: int) -> int:
    return sum(row.revenue for row in report if row.month == month)


def as_csv(report: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(Row._fields)
    writer.writerows(report)
    return text.getvalue()
