"""What goes into a store comes back as it was, or is refused with what to do instead."""

from __future__ import annotations

import asyncio
import functools
import io
import itertools
import json
import sys
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import flask
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column
from werkzeug.datastructures import FileStorage

from flask_later.core.decoding import DECODERS
from flask_later.core.encoding import MAX_DEPTH
from flask_later.core.payload import dump_call, dumps, load_call, loads
from flask_later.errors import MalformedPayloadError, NotSerializableError, PayloadTooLargeError

T = TypeVar("T")


class Colour(Enum):
    RED = "red"
    GREEN = ("g", 2)
    ALSO_RED = "red"  # noqa: PIE796 - an alias


class Size(StrEnum):
    SMALL = "s"


class Level(IntEnum):
    LOW = 1


class Access(Flag):
    READ = 1
    WRITE = 2
    RUN = 4
    ALL = 7


class Bits(IntFlag):
    ONE = 1
    TWO = 2


@dataclass(frozen=True, slots=True)
class Point:
    x: object
    y: object = 0


@dataclass
class Order:
    item: object
    count: int = 1
    label: str = field(init=False, default="")
    rows: list[object] = field(default_factory=list)
    made: ClassVar[int] = 0

    def __post_init__(self) -> None:
        type(self).made += 1
        self.label = f"{self.count} x"

    class Kind(Enum):
        GIFT = 1


@dataclass
class Cached:
    side: int

    @functools.cached_property
    def area(self) -> int:
        return self.side**2


@dataclass
class Box(Generic[T]):
    content: T


@dataclass(kw_only=True)
class Grown(Order):
    colour: Colour = Colour.RED


@dataclass
class Careless:
    name: str

    def __post_init__(self) -> None:
        self.extra = "not a field"


@dataclass
class Unset:
    name: str = field(init=False)


class Undecorated(Order):
    pass


@dataclass
class TroubleError(Exception):
    code: int


@dataclass(frozen=True)
class Moody:
    mood: str

    def __hash__(self) -> int:
        raise RuntimeError(self.mood)


class NotData:
    pass


Pair = namedtuple("Pair", "left right")


class OldZone(tzinfo):
    """As pytz and dateutil make them."""


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)


class Account(MappedAsDataclass, Base):
    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)


def make_local_class() -> type:
    @dataclass
    class Local:
        x: int

    return Local


def form(value: object) -> object:
    """Return what makes two values the same here: types, order and every hidden bit."""
    kind: Any = type(value)
    match value:
        case float() | Decimal():
            return kind, str(value)
        case list() | tuple():
            return kind, tuple(map(form, value))
        case set() | frozenset():
            return kind, frozenset(map(form, value))
        case dict():
            return kind, tuple((form(key), form(item)) for key, item in value.items())
        case datetime() | time():
            return kind, value.replace(tzinfo=None).isoformat(), value.fold, repr(value.tzinfo)
        case _ if is_dataclass(value):
            return kind, tuple(form(getattr(value, each.name)) for each in fields(value))
        case _:
            return kind, value


BERLIN = ZoneInfo("Europe/Berlin")
TWICE = datetime.fromisoformat("2026-10-25T02:30:00")

texts = st.one_of(
    st.text(st.characters(), max_size=20),
    st.text("$\0a\ud83d\ude00\U0001f600", max_size=8),
    st.just("$tuple"),
)
zones = st.one_of(
    st.sampled_from([None, UTC, BERLIN, ZoneInfo("UTC"), timezone(timedelta(hours=1), "CET")]),
    st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone),
)
folds = st.sampled_from([0, 1])


@st.composite
def clock_readings(draw: st.DrawFn) -> datetime | time:
    naive = draw(st.datetimes() | st.times())
    return naive.replace(tzinfo=draw(zones), fold=draw(folds))


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(2000, 20000).map(lambda bits: -(3**bits)),
    st.floats(),
    texts,
    st.binary(max_size=20),
    clock_readings(),
    st.dates(),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    texts.map(Path),
    st.sampled_from([*Colour, *Size, *Level, Order.Kind.GIFT]),
    st.integers(0, 7).map(Access),
    st.integers(0, 300).map(Bits),
)
hashables = st.recursive(
    # A signalling NaN has no hash.
    scalars.filter(lambda value: not (isinstance(value, Decimal) and value.is_snan())),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(inner, max_size=3),
        st.builds(Point, inner, inner),
    ),
    max_leaves=5,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(texts, inner, max_size=4),
        st.dictionaries(hashables, inner, max_size=4),
        st.sets(hashables, max_size=4),
        st.frozensets(hashables, max_size=4),
        st.builds(Point, inner, inner),
        st.builds(Order, inner, rows=st.lists(inner, max_size=2)),
        st.builds(Grown, inner, colour=st.sampled_from(Colour)),
    ),
    max_leaves=15,
)


class TestRoundTrip:
    @settings(deadline=None)
    @given(values)
    def test_a_value_comes_back_as_it_was(self, value: object) -> None:
        text = dumps(value)
        assert text.isascii()
        assert form(loads(text)) == form(value)

    @settings(deadline=None)
    @given(st.lists(values, max_size=3), st.dictionaries(texts, values, max_size=3))
    def test_a_call_comes_back_as_it_was(
        self, args: list[object], kwargs: dict[str, object]
    ) -> None:
        text = dump_call(tuple(args), kwargs, task="shop.send", names=["first"])
        assert form(load_call(text)) == form((tuple(args), kwargs))

    @pytest.mark.parametrize(
        "value",
        [
            float("nan"),
            float("-inf"),
            -0.0,
            10**5000,
            -(10**5000),
            "a\0b",
            "\ud800",
            "\ud83d\ude00",
            {"\ud83d\ude00": 1},
            {"$tuple": [1]},
            {"$": 1, "b": 2},
            {1: "a", True + 1: "b", "1": "c", None: "d", (1, 2.0): "e"},
            {"b": 1, "a": 2},
            {10**5000: 1},
            set(),
            {frozenset({1}), (1,)},
            b"\xff\0",
            TWICE,
            TWICE.replace(fold=1),
            TWICE.replace(tzinfo=BERLIN),
            TWICE.replace(tzinfo=BERLIN, fold=1),
            TWICE.replace(tzinfo=timezone(timedelta(hours=1), "CET")),
            TWICE.replace(tzinfo=timezone(-timedelta(seconds=1, microseconds=5))),
            time(2, 30, tzinfo=BERLIN, fold=1),
            datetime.max.replace(tzinfo=UTC),
            datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
            date.min,
            timedelta.min,
            Decimal("-0E-30"),
            Decimal("sNaN12"),
            UUID(int=0),
            Path("a") / "ä",
            Path("//x"),
            Colour.ALSO_RED,
            Access(0),
            Access.READ | Access.RUN,
            ~Access.READ,
            ~Bits.ONE,
            Bits(1024),
            Point((1,), Point(None)),
            Box[int](1),
        ],
        ids=map(str, itertools.count()),
    )
    def test_the_awkward_ones_come_back_too(self, value: object) -> None:
        assert form(loads(dumps(value))) == form(value)

    def test_an_enum_member_comes_back_as_itself(self) -> None:
        assert loads(dumps(Colour.ALSO_RED)) is Colour.RED

    def test_a_dataclass_comes_back_without_its_init_being_called(self) -> None:
        order = Order("tea", 3)
        order.label = "changed afterwards"
        made = Order.made
        assert loads(dumps(order)) == order
        assert Order.made == made

    def test_a_cached_property_is_not_stored(self) -> None:
        cached = Cached(3)
        assert cached.area == 9
        assert vars(loads(dumps(cached))) == {"side": 3}

    def test_plain_values_are_plain_json(self) -> None:
        value = {"to": "a@b.c", "n": [1, 2.5, None, True], "ü": {}}
        assert json.loads(dumps(value)) == value

    def test_a_call_is_a_list_of_its_arguments(self) -> None:
        text = dump_call((7, "a"), {"region": "eu"}, task="shop.send", names=["user_id"])
        assert text == '[[7,"a"],{"region":"eu"}]'

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ((1, "$"), '{"$tuple":[1,"$"]}'),
            ({1: 2}, '{"$dict":[[1,2]]}'),
            (datetime.fromtimestamp(0, UTC), '{"$datetime":"1970-01-01T00:00:00+00:00"}'),
            (
                TWICE.replace(tzinfo=BERLIN, fold=1),
                '{"$datetime":["2026-10-25T02:30:00","Europe/Berlin",1]}',
            ),
            (Decimal("1.50"), '{"$decimal":"1.50"}'),
            (Colour.GREEN, f'{{"$enum":["{__name__}:Colour","GREEN"]}}'),
            (Order.Kind.GIFT, f'{{"$enum":["{__name__}:Order.Kind","GIFT"]}}'),
            (Point(1), f'{{"$dataclass":["{__name__}:Point",{{"x":1,"y":0}}]}}'),
        ],
    )
    def test_the_form_of_what_is_stored_stays(self, value: object, text: str) -> None:
        """Rows outlive a release: a change here needs a reader for the old form."""
        assert dumps(value) == text
        assert loads(text) == value


class TestDepth:
    def test_sixty_four_levels_come_back(self) -> None:
        value = nested(MAX_DEPTH, lambda inner: [inner])
        assert loads(dumps(value)) == value
        assert load_call(call(value, value)) == ((value,), {"again": value})

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda inner: [inner],
            lambda inner: (inner,),
            lambda inner: {"a": inner},
            lambda inner: {1: inner},
            lambda inner: frozenset({inner}),
            Point,
        ],
        ids=["list", "tuple", "dict", "pairs", "frozenset", "dataclass"],
    )
    def test_the_limit_is_the_same_for_every_container(
        self, wrap: Callable[[object], object]
    ) -> None:
        value = nested(MAX_DEPTH, wrap)
        assert form(loads(dumps(value))) == form(value)
        with pytest.raises(NotSerializableError, match="more than 64 levels deep"):
            dumps(wrap(value))

    def test_many_containers_need_not_be_deep(self) -> None:
        value: list[object] = [[{"a": []}] for _ in range(100)]
        assert loads(dumps(value)) == value

    def test_a_cycle_is_refused_by_the_argument_that_holds_it(self) -> None:
        orders: dict[str, object] = {}
        orders["again"] = [orders]
        assert refusal(lambda: call(1, orders)) == (
            "argument 'again' is a dict and cannot be stored. "
            "It is more than 64 levels deep, or contains itself."
        )

    @pytest.mark.parametrize("opening", ["[", '{"a":', '{"$tuple":[', '{"$path":', "[[],{"])
    def test_deep_text_is_malformed(self, opening: str) -> None:
        with pytest.raises(MalformedPayloadError):
            loads(opening * 100_000)

    @pytest.mark.parametrize("depth", [65, 500, 100_000])
    def test_deep_lists_are_malformed(self, depth: int) -> None:
        with pytest.raises(MalformedPayloadError, match="deep"):
            loads("[" * (depth + 1) + "]" * (depth + 1))
        with pytest.raises(MalformedPayloadError, match="deep"):
            load_call("[[" + "[" * (depth + 1) + "]" * (depth + 1) + "],{}]")


class TestSize:
    def test_text_up_to_the_limit_is_fine(self) -> None:
        assert dumps("abc", max_bytes=5) == '"abc"'

    def test_longer_text_is_refused(self) -> None:
        with pytest.raises(PayloadTooLargeError) as raised:
            dumps("abcd", where="the result", max_bytes=5)
        error = raised.value
        assert (error.what, error.size, error.limit) == ("the result", 6, 5)
        assert "LATER_" not in str(error)

    def test_a_call_has_a_limit_too(self) -> None:
        with pytest.raises(PayloadTooLargeError, match=r"The call of shop\.send"):
            dump_call(("abcd",), {}, task="shop.send", names=[], max_bytes=5)


class TestRefusals:
    def test_a_subclass_of_a_builtin(self) -> None:
        assert refusal(lambda: call(Markup("<b>"))) == (
            "argument 'user' is a Markup and cannot be stored. "
            "It would come back as a plain str. Give that: send.enqueue(str(value))"
        )

    @pytest.mark.parametrize("value", [OrderedDict(a=1), defaultdict(list, a=[1])])
    def test_a_subclass_of_dict(self, value: object) -> None:
        assert "It would come back as a plain dict. Give that" in refusal(lambda: call(value))

    def test_a_subclass_of_datetime(self) -> None:
        class Timestamp(datetime):
            pass

        assert refusal(lambda: call(Timestamp.now(UTC))) == (
            "argument 'user' is a Timestamp and cannot be stored. "
            "It would come back as a plain datetime. Convert it first."
        )

    def test_a_namedtuple(self) -> None:
        assert refusal(lambda: call(Pair(1, 2))) == (
            "argument 'user' is a Pair and cannot be stored. A namedtuple would come back as a "
            "plain tuple. Give that, or make it a dataclass: send.enqueue(tuple(value))"
        )

    @pytest.mark.parametrize(("model", "article"), [(User(id=7), "a"), (Account(id=7), "an")])
    def test_a_model(self, model: object, article: str) -> None:
        name = type(model).__name__
        assert refusal(lambda: call(model)) == (
            f"argument 'user' is {article} {name} and cannot be stored. "
            f"A SQLAlchemy model belongs to its session. Give its id and load it again where it "
            f"is used, {name.lower()} = "
            f"db.session.get({name}, {name.lower()}_id): send.enqueue({name.lower()}.id)"
        )

    def test_a_model_as_a_result(self) -> None:
        message = refusal(lambda: dumps(User(id=7), where="the result"))
        assert message.startswith("the result is a User and cannot be stored.")
        assert message.endswith(": return user.id")

    @pytest.mark.parametrize("name", ["request", "session", "g"])
    def test_a_proxy(self, name: str) -> None:
        proxy: object = getattr(flask, name)
        expected = (
            "argument 'user' is a LocalProxy and cannot be stored. It stands for something that is "
            "gone with the request or the context, as request, session and current_user do. Read "
            "what is needed from it now: send.enqueue(current_user.id)"
        )
        assert refusal(lambda: call(proxy)) == expected
        with flask.Flask("shop").test_request_context():
            assert refusal(lambda: call(proxy)) == expected

    def test_a_request(self) -> None:
        with flask.Flask("shop").test_request_context() as context:
            assert refusal(lambda: call(context.request)) == (
                "argument 'user' is a Request and cannot be stored. It is gone with the response. "
                "Read what is needed from it in the view: send.enqueue(request.remote_addr)"
            )

    def test_an_upload(self) -> None:
        assert refusal(lambda: call(FileStorage())) == (
            "argument 'user' is a FileStorage and cannot be stored. An upload is gone with its "
            "request. Save it first, upload.save(path), and give the path: send.enqueue(path)"
        )

    @pytest.mark.parametrize("value", [(n for n in [1]), iter([1]), zip([1], strict=True)])
    def test_an_iterator(self, value: object) -> None:
        message = refusal(lambda: call(value))
        hint = "It can be read once, and only here. Give a list: send.enqueue(list(items))"
        assert message.endswith(hint)

    def test_a_coroutine(self) -> None:
        coroutine = asyncio.sleep(0)
        message = refusal(lambda: call(coroutine))
        coroutine.close()
        assert message.endswith(
            "It has not run yet. Await it and give what it returns: send.enqueue(await value)"
        )

    def test_an_open_file(self) -> None:
        assert refusal(lambda: call(io.BytesIO())) == (
            "argument 'user' is a BytesIO and cannot be stored. An open file stays in its process. "
            "Give the path and open it again where it is used: send.enqueue(path)"
        )

    @pytest.mark.parametrize("value", [lambda: 1, len, "a".upper, functools.partial(len), int])
    def test_code(self, value: object) -> None:
        assert refusal(lambda: call(value)).endswith(
            "Only data is stored, no code. Make it a task, or give a name and look it up by that: "
            "send.enqueue('name')"
        )

    def test_anything_else_is_told_what_is_supported(self) -> None:
        assert refusal(lambda: call(NotData())) == (
            "argument 'user' is a NotData and cannot be stored. Supported: None, bool, int, float, "
            "str, bytes, list, tuple, dict, set, frozenset, datetime, date, time, timedelta, "
            "Decimal, UUID, Path, Enum and dataclasses."
        )

    @pytest.mark.parametrize("kind", [datetime, time])
    def test_a_zone_of_another_library(self, kind: type[datetime] | type[time]) -> None:
        value = kind.min.replace(tzinfo=OldZone())
        assert refusal(lambda: call(value)) == (
            "argument 'user'.tzinfo is an OldZone and cannot be stored. Use "
            "zoneinfo.ZoneInfo('Europe/Berlin'), or a fixed offset such as datetime.UTC."
        )

    def test_a_zone_without_a_key(self) -> None:
        nameless = ZoneInfo.from_file(io.BytesIO(utc_zone_file()))
        assert "'user'.tzinfo is a ZoneInfo" in refusal(
            lambda: call(TWICE.replace(tzinfo=nameless))
        )

    def test_a_class_inside_a_function(self) -> None:
        assert refusal(lambda: call(make_local_class()(1))) == (
            "argument 'user' is a Local and cannot be stored. "
            "Move the class Local out of its function, to a module."
        )

    def test_a_class_that_has_lost_its_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        point = Point(1)
        monkeypatch.delattr(sys.modules[__name__], "Point")
        assert refusal(lambda: call(point)) == (
            f"argument 'user' is a Point and cannot be stored. Its class is not what "
            f"'{__name__}:Point' is. Define it at the top of a module, under its own name, once; "
            f"a module that is run and imported too exists twice."
        )

    def test_an_enum_member_outside_its_class(self) -> None:
        stray = object.__new__(Colour)
        stray._name_ = "RED"
        assert refusal(lambda: call(stray)).endswith("It is not among the members of Colour.")

    def test_a_dataclass_with_attributes_beside_its_fields(self) -> None:
        assert refusal(lambda: call(Careless("a"))) == (
            "argument 'user' is a Careless and cannot be stored. "
            "Its attribute 'extra' is no field. Declare it: field(init=False)."
        )

    def test_a_dataclass_with_a_field_that_was_never_set(self) -> None:
        assert refusal(lambda: call(Unset())).endswith("Its field 'name' was never set.")

    @pytest.mark.parametrize("value", [Undecorated("a"), TroubleError(1)])
    def test_more_than_a_dataclass(self, value: object) -> None:
        name = type(value).__name__
        assert refusal(lambda: call(value)).endswith(
            f"It is more than the fields of a dataclass: put @dataclass on {name} itself, and let "
            f"it have neither a __new__ nor a built-in parent."
        )


class TestPlaces:
    """Errors lead to the value, and never show it."""

    @pytest.mark.parametrize(
        ("value", "path"),
        [
            ([0, Point([NotData()])], "[1].x[0]"),
            ({"a": {7: NotData()}}, "['a'][7]"),
            ({(1, "secret"): NotData()}, "[<tuple>]"),
            ({"long " * 9: NotData()}, "[<str>]"),
            ({10**5000: NotData()}, "[<int>]"),
            ({1: 2, NotData(): 1}, ".keys()[...]"),
            ({NotData()}, "[...]"),
            (Order((1, NotData())), ".item[1]"),
        ],
    )
    def test_the_way_to_a_value(self, value: object, path: str) -> None:
        with pytest.raises(NotSerializableError) as raised:
            dumps(value, where="the result")
        assert raised.value.path == f"the result{path}"
        assert raised.value.value_type == "NotData"

    def test_a_positional_argument_has_the_name_of_its_parameter(self) -> None:
        assert refusal(lambda: call(NotData())).startswith("argument 'user' is")

    def test_further_positional_arguments_have_a_number(self) -> None:
        message = refusal(lambda: dump_call((1, 2, NotData()), {}, task="send", names=["a"]))
        assert message.startswith("argument 3 is")

    def test_a_keyword_argument_has_its_name(self) -> None:
        message = refusal(lambda: dump_call((), {"to": [NotData()]}, task="send", names=["a"]))
        assert message.startswith("argument 'to'[0] is")

    def test_the_value_is_not_shown(self) -> None:
        class Password(str):
            __slots__ = ()

        assert "hunter2" not in refusal(lambda: call({"a": Password("hunter2")}))


class TestMalformed:
    @settings(deadline=None)
    @given(st.text())
    @example("\ufeff1")
    @example("1" * 5000)
    def test_any_text_is_read_or_malformed(self, text: str) -> None:
        read_or_malformed(text)

    @settings(deadline=None)
    @given(st.data())
    def test_any_json_is_read_or_malformed(self, data: st.DataObject) -> None:
        read_or_malformed(json.dumps(data.draw(tagged_json)))

    @settings(deadline=None)
    @given(values, st.data())
    def test_damaged_text_is_read_or_malformed(self, value: object, data: st.DataObject) -> None:
        text = dumps(value)
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 3)))
        read_or_malformed(
            text[:start] + data.draw(st.text('"{}[]:,$019-x', max_size=2)) + text[end:]
        )

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[1",
            "NaN",
            "[-Infinity]",
            '{"$nothing": 1}',
            '{"$tuple": [1], "a": 1}',
            '{"a": 1, "$tuple": [1]}',
            '{"$tuple": {"a": 1}}',
            '{"$dict": [[1]]}',
            '{"$dict": [[[], 1]]}',
            '{"$set": [{}]}',
            '{"$int": 1}',
            '{"$float": "1.5"}',
            '{"$str": "abc"}',
            '{"$bytes": "?"}',
            '{"$datetime": "yesterday"}',
            '{"$datetime": ["2026-01-01", null, 2]}',
            '{"$datetime": ["2026-01-01", "Nowhere/Land", 0]}',
            '{"$datetime": ["2026-01-01", "../../etc/passwd", 0]}',
            '{"$datetime": ["2026-01-01", "Europe", 0]}',
            '{"$datetime": ["2026-01-01", [2, 0, 0, null], 0]}',
            '{"$timedelta": [1e9, 0, 0]}',
            '{"$timedelta": [9999999999, 0, 0]}',
            '{"$decimal": 1.5}',
            '{"$decimal": "much"}',
            '{"$uuid": "1"}',
            '{"$path": 1}',
        ],
    )
    def test_these_are_malformed(self, text: str) -> None:
        with pytest.raises(MalformedPayloadError):
            loads(text)

    @pytest.mark.parametrize(
        ("tag", "body"),
        [
            ("enum", ["{}:Colour", "BLUE"]),
            ("enum", ["{}:Colour", "__class__"]),
            ("enum", ["{}:Point", "RED"]),
            ("enum", ["{}:NotData", "RED"]),
            ("enum", ["{}:BERLIN", "RED"]),
            ("enum", ["{}:Colour.RED.__class__", "RED"]),
            ("enum", ["{}:NotThere", "RED"]),
            ("enum", ["{}", "RED"]),
            ("enum", "RED"),
            ("flag", ["{}:Access", "0x8"]),
            ("flag", ["{}:Access", 1]),
            ("flag", ["{}:Colour", "0x1"]),
            ("dataclass", ["{}:Colour", {}]),
            ("dataclass", ["{}:NotData", {}]),
            ("dataclass", ["{}:Account", {"id": 1}]),
            ("dataclass", ["{}:Undecorated", {"item": 1}]),
            ("dataclass", ["{}:TroubleError", {"code": 1}]),
            ("dataclass", ["{}:Point", {}]),
            ("dataclass", ["{}:Point", [1, 2]]),
            ("dataclass", ["{}:Point", {"x": 1, "__class__": 1}]),
            ("set", [{"$dataclass": ["{}:Moody", {"mood": "bad"}]}]),
        ],
    )
    def test_these_classes_are_malformed(self, tag: str, body: object) -> None:
        text = json.dumps({f"${tag}": body}).replace("{}:", f"{__name__}:")
        with pytest.raises(MalformedPayloadError):
            loads(text)

    @pytest.mark.parametrize("text", ["1", "[]", "[[]]", "[[],[]]", "[{},{}]", "[[],{},1]"])
    def test_a_call_has_two_parts(self, text: str) -> None:
        with pytest.raises(MalformedPayloadError, match="arguments of a call"):
            load_call(text)

    def test_the_names_of_a_call_are_text(self) -> None:
        with pytest.raises(MalformedPayloadError, match="arguments of a call"):
            load_call('[[],{"$dict":[[1,2]]}]')

    def test_a_module_is_never_imported(self) -> None:
        assert "this" not in sys.modules
        with pytest.raises(MalformedPayloadError, match="no class 'this:Zen' is loaded here"):
            loads('{"$enum":["this:Zen","A"]}')
        assert "this" not in sys.modules

    def test_a_name_leads_to_the_class_of_that_name_only(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An alias, or what another module has imported, is not where a class is defined."""
        monkeypatch.setattr(sys.modules[__name__], "Alias", Colour, raising=False)
        with pytest.raises(MalformedPayloadError):
            loads(f'{{"$enum":["{__name__}:Alias","RED"]}}')


class TestRollingDeploy:
    def test_a_new_field_takes_its_default(self) -> None:
        text = dumps(Point(1, 2)).replace(',"y":2', "")
        assert loads(text) == Point(1, 0)

    def test_a_new_field_with_a_factory_is_malformed(self) -> None:
        text = dumps(Order(1)).replace(',"rows":[]', "")
        with pytest.raises(MalformedPayloadError, match="has other fields than were stored"):
            loads(text)

    def test_a_field_that_is_gone_is_malformed(self) -> None:
        text = dumps(Point(1, 2)).replace('"y":2', '"y":2,"z":3')
        with pytest.raises(MalformedPayloadError, match="has other fields than were stored"):
            loads(text)


tags = st.sampled_from([*DECODERS, "$nothing"])
names = st.sampled_from(
    ["Colour", "Access", "Bits", "Point", "Order", "Moody", "NotData", "Order.Kind", "json", "."]
).map(f"{__name__}:{{}}".format)
tagged_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["RED", "0x3", "Europe/Berlin", "2026-10-25", "02:30", "1E+99999999"])
    | names,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=3) | st.sampled_from(["x", "y"]), inner, max_size=3),
        st.dictionaries(tags, inner, min_size=1, max_size=1),
        st.dictionaries(tags, st.tuples(names, inner), min_size=1, max_size=1),
        st.dictionaries(tags, st.lists(st.tuples(inner, inner)), min_size=1, max_size=1),
    ),
    max_leaves=12,
)


def read_or_malformed(text: str) -> None:
    for read in (loads, load_call):
        with suppress(MalformedPayloadError):
            read(text)


def nested(depth: int, wrap: Callable[[object], object]) -> object:
    value: object = None
    for _ in range(depth):
        value = wrap(value)
    return value


def call(user: object, again: object = None) -> str:
    return dump_call((user,), {"again": again}, task="shop.mail.send", names=["user"])


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(NotSerializableError) as raised:
        attempt()
    return str(raised.value)


def utc_zone_file() -> bytes:
    """Return the smallest TZif file: one type, offset zero."""
    counts = b"".join(count.to_bytes(4, "big") for count in (0, 0, 0, 0, 1, 4))
    return b"TZif" + b"\0" * 16 + counts + b"\0" * 6 + b"UTC\0"
