"""A parked job is tried again when what its arguments have to fit has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import make_dataclass
from enum import Enum
from typing import Any

from flask_later.tasks.shapes import shapes_of
from flask_later.tasks.task import Definition


def annotated(hint: object) -> Callable[..., None]:
    def function(argument: Any) -> None: ...

    function.__annotations__ = {"argument": hint, "return": None}
    return function


def digest(hint: object) -> str:
    return Definition(annotated(hint), "shop.paint").digest


def test_another_member_or_field_is_another_digest() -> None:
    """Also inside of lists and unions."""
    few, more = Enum("Color", "RED"), Enum("Color", "RED BLUE")
    short, long = make_dataclass("Order", ["id"]), make_dataclass("Order", ["id", "price"])
    for before, after in [
        (few, more),
        (short, long),
        (list[few], list[more]),
        (short | None, long),
    ]:
        assert digest(before) != digest(after)


def test_the_same_shape_is_the_same_digest() -> None:
    """Two processes with the same code agree."""
    assert digest(Enum("Color", "RED BLUE")) == digest(Enum("Color", "BLUE RED"))


def test_an_annotation_that_does_not_exist_is_passed_over() -> None:
    """It may be there for a type checker only."""
    assert shapes_of(annotated("Nowhere")) == []
