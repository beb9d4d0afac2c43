"""What routes have answered beside what a document says of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

#: Those that the server adds to each response.
_OF_THE_SERVER = {"Content-Type", "Content-Length"}

#: By path, method and status: the names of headers, and media types.
Answers = dict[tuple[str, str, str], tuple[set[str], set[str]]]


class Seen:
    """Adds what a client gets to *answers*."""

    def __init__(self, client: FlaskClient, answers: Answers) -> None:
        self._client = client
        self.answers = answers

    def by(self, client: FlaskClient) -> Seen:
        """Return the same for another client."""
        return Seen(client, self.answers)

    def __call__(self, method: str, path: str, url: str = "", **request: Any) -> TestResponse:
        """Send a request for what the document calls *path*."""
        answer: TestResponse = self._client.open(url or path, method=method, **request)
        self._note(path, method, answer)
        if answer.status_code >= 400 and answer.mimetype == "application/problem+json":
            # To people it is told as a page.
            headers = {**request.pop("headers", {}), "Accept": "text/html"}
            page = self._client.open(url or path, method=method, headers=headers, **request)
            self._note(path, method, page)
        return answer

    def _note(self, path: str, method: str, answer: TestResponse) -> None:
        headers, types = self.answers[path, method.lower(), str(answer.status_code)]
        headers |= {*answer.headers.keys()} - _OF_THE_SERVER
        if answer.data:
            types.add(answer.mimetype)


def documented(document: dict[str, Any]) -> Answers:
    """Return what *document* says."""
    return {
        (path, method, status): (
            {*response.get("headers", {})},
            # There is none in the answer to HEAD, whatever its response shares with GET.
            set() if method == "head" else {*response.get("content", {})},
        )
        for path, method, operation in operations(document)
        for status, response in responses(document, operation)
    }


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Return each path, method and operation object."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def responses(
    document: dict[str, Any], operation: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return each status and its response."""
    for status, response in operation["responses"].items():
        yield status, resolved(document, response)


def resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Return what *part* is, or refers to."""
    if "$ref" not in part:
        return part
    found = document
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return found
