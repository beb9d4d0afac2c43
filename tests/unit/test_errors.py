"""Every error, as a value: its place in the tree, its facts and its text."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from flask_later import errors
from flask_later.errors import LaterError
from flask_later.errors.words import closest

CLASSES = [
    error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, LaterError)
]
SAMPLES = {
    "bool": True,
    "str": "text",
    "str | None": "text",
    "int": 3,
    "float": 1.5,
    "Sequence[str]": ["a", "b"],
}


def make(error: type[LaterError]) -> LaterError:
    """Make an error of any class, with a fact of the right type for each parameter."""
    if "__init__" not in vars(error):
        return error("text")
    parameters = inspect.signature(error).parameters.values()
    return error(*(SAMPLES[parameter.annotation] for parameter in parameters))


@pytest.mark.parametrize("error", CLASSES)
def test_an_error_survives_pickling(error: type[LaterError]) -> None:
    """It comes back as the same class, with its facts and its text."""
    before = make(error)
    after = pickle.loads(pickle.dumps(before))  # noqa: S301 - the test wrote it
    assert type(after) is error
    assert (after.args, vars(after), str(after)) == (before.args, vars(before), str(before))


@pytest.mark.parametrize("error", CLASSES)
def test_an_error_keeps_its_facts(error: type[LaterError]) -> None:
    """Each parameter is an attribute of that name, and there is no other."""
    if "__init__" in vars(error):
        parameters = inspect.signature(error).parameters.values()
        assert vars(make(error)) == {each.name: SAMPLES[each.annotation] for each in parameters}


@pytest.mark.parametrize("error", CLASSES)
def test_the_text_of_an_error_is_a_sentence(error: type[LaterError]) -> None:
    """It ends like one, and no fact is left unformatted."""
    text = str(make(error))
    assert text
    if "__str__" in vars(error):
        assert text[0].isupper() or text.startswith(("text", "3 "))
        assert "{" not in text
        assert "  " not in text


@pytest.mark.parametrize("error", CLASSES)
def test_an_error_is_documented(error: type[LaterError]) -> None:
    """Its docstring says when it is raised, and its name ends in Error."""
    assert error.__doc__
    assert error.__name__.endswith("Error")


def drawn() -> list[tuple[int, str]]:
    """Return the tree of the module's docstring, as depths and names."""
    assert errors.__doc__ is not None
    lines = re.findall(r"^    ((?:│   |    )*)(├── |└── )?(\w+Error)\b", errors.__doc__, re.M)
    return [(len(indent) // 4 + bool(branch), name) for indent, branch, name in lines]


def built(error: type[LaterError] = LaterError, depth: int = 0) -> list[tuple[int, str]]:
    below = [cls for cls in error.__subclasses__() if cls in CLASSES]
    return [(depth, error.__name__), *(line for cls in below for line in built(cls, depth + 1))]


def test_the_tree_is_drawn_as_it_is() -> None:
    """The docstring shows every class once, under the one it derives from."""
    assert drawn() == built()


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.ConfigurationError, RuntimeError),
        (errors.InvalidTaskError, TypeError),
        (errors.UsageError, RuntimeError),
        (errors.UnknownServiceError, LookupError),
        (errors.ArgumentsError, TypeError),
        (errors.NotSerializableError, TypeError),
        (errors.PayloadTooLargeError, ValueError),
        (errors.UnknownQueueError, LookupError),
        (errors.JobNotFoundError, LookupError),
        (errors.JobTimeoutError, TimeoutError),
        (errors.MalformedPayloadError, ValueError),
    ],
)
def test_an_error_is_also_what_python_would_raise(
    error: type[LaterError], builtin: type[Exception]
) -> None:
    """Who expects the builtin catches ours."""
    assert issubclass(error, builtin)


@pytest.mark.parametrize("error", CLASSES)
def test_the_facts_of_an_error_may_hold_braces(error: type[LaterError]) -> None:
    """Facts are shown as they are: none of them is taken for a format."""
    if "__init__" in vars(error):
        parameters = inspect.signature(error).parameters.values()
        facts = [SAMPLES[each.annotation] for each in parameters]
        assert "{0}" in str(error(*("{0}" if fact == "text" else fact for fact in facts))) or (
            "text" not in facts
        )


def test_the_closest_names_are_offered() -> None:
    """What was probably meant comes first; nothing is said where nothing is close."""
    assert closest("send_mial", ["send_mail", "build"]) == " Closest: 'send_mail'."
    assert closest("send", ["build"]) == ""


def test_an_app_without_later_is_told_from_another_instance() -> None:
    """Both say what was asked and what to do, and the second says where the other was made."""
    missing = str(errors.NotInitializedError("shop", None, "later.job()"))
    other = str(errors.NotInitializedError("shop", "shop/ext.py:4", "Task 'build'"))
    assert "Did you forget later.init_app(app) in create_app()?" in missing
    assert "later.job()" in missing
    assert "created at shop/ext.py:4" in other
    assert "second Later()" in other


def test_a_request_that_is_not_there_is_told_from_one_that_bypassed_us() -> None:
    """In a script there is no response; in test_request_context() nothing would come of it."""
    assert "call the function" in str(errors.OutsideRequestError(None))
    assert "app.test_client()" in str(errors.OutsideRequestError("shop"))


def test_a_value_that_cannot_be_is_not_told_at_full_length() -> None:
    """It may be a file's content."""
    assert len(str(errors.InvalidSettingError("unique_key", "'" + "x" * 100_000, "less"))) < 300
