"""An HTTP/1 client that sees what a library would hide: where a response ends, and when.

The END of a response is the moment when its client knows that it is complete: the last byte that
``Content-Length`` announced, the terminator of the chunks, the end of the connection if nothing
else frames it, the end of the headers for HEAD and 204.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

#: Longer than every deliberate wait of the app under test.
TIMEOUT = 40.0
_END_OF_HEADERS = b"\r\n\r\n"
_RESET = struct.pack("ii", 1, 0)


NO_HEADERS: Mapping[str, str] = {}


class ConnectionEndedError(ConnectionError):
    """The server closed the connection before anything was answered."""


@dataclass(frozen=True)
class Head:
    version: str
    status: int
    headers: dict[str, str]

    @property
    def chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def length(self) -> int | None:
        text = self.headers.get("content-length")
        return None if text is None else int(text)

    def keeps_connection(self, asked: str) -> bool:
        word = self.headers.get("connection", "").lower()
        if "1.0" in (self.version[-3:], asked):
            return word == "keep-alive"
        return word != "close"


@dataclass(frozen=True)
class Response:
    head: Head
    body: bytes
    #: Whether the END came; otherwise the server broke the response off.
    complete: bool
    #: Whether the END can be told without the end of the connection, and the server stays on.
    reusable: bool
    sent_at: float
    ended_at: float

    @property
    def status(self) -> int:
        return self.head.status

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """One connection."""

    def __init__(self, address: tuple[str, int], timeout: float = TIMEOUT) -> None:
        self._socket = socket.create_connection(address, timeout=timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""
        self._method = ""
        self._version = ""
        self._sent_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def disconnect(self) -> None:
        """Vanish, so that the server's next write fails: what is unread is thrown away."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._socket.close()

    def get(self, path: str, *, version: str = "1.1") -> Response:
        return self.request("GET", path, version=version)

    def post(self, path: str, *, version: str = "1.1") -> Response:
        return self.request("POST", path, version=version)

    def request(
        self,
        method: str,
        path: str,
        *,
        version: str = "1.1",
        headers: Mapping[str, str] = NO_HEADERS,
        body: bytes = b"",
    ) -> Response:
        """Send a request and read its response to the END, no byte further."""
        self.send(method, path, version=version, headers=headers, body=body)
        return self.read()

    def send(
        self,
        method: str,
        path: str,
        *,
        version: str = "1.1",
        headers: Mapping[str, str] = NO_HEADERS,
        body: bytes = b"",
    ) -> None:
        lines = [f"{method} {path} HTTP/{version}", "Host: live.test"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        self._method, self._version = method, version
        self._sent_at = time.monotonic()
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    def read(self) -> Response:
        head = self.read_head()
        body, complete, framed = self._read_body(head)
        reusable = complete and framed and head.keeps_connection(self._version)
        return Response(head, body, complete, reusable, self._sent_at, time.monotonic())

    def read_head(self) -> Head:
        while _END_OF_HEADERS not in self._left:
            if not self._more():
                raise ConnectionEndedError(f"no response, only {self._left!r}")
        text, _, self._left = self._left.partition(_END_OF_HEADERS)
        first, *rest = text.decode("latin-1").split("\r\n")
        version, status, *_ = first.split(" ")
        pairs = (line.split(":", 1) for line in rest)
        return Head(version, int(status), {key.lower(): value.strip() for key, value in pairs})

    def read_some(self) -> bytes:
        """Wait for a piece of the body, as it came."""
        if not self._left:
            self._more()
        piece, self._left = self._left, b""
        return piece

    def _read_body(self, head: Head) -> tuple[bytes, bool, bool]:
        """The body, whether it is complete, and whether its END needs no end of the connection."""
        if self._method == "HEAD" or head.status in (204, 304):
            return b"", True, True
        if head.chunked:
            return *self._read_chunks(), True
        if head.length is not None:
            body = self._take(head.length)
            return body, len(body) == head.length, True
        while self._more():
            pass
        body, self._left = self._left, b""
        return body, True, False

    def _read_chunks(self) -> tuple[bytes, bool]:
        body = b""
        while True:
            line = self._take_line()
            if not line.endswith(b"\r\n"):
                return body, False
            size = int(line.split(b";")[0], 16)
            piece = self._take(size + 2)
            if len(piece) < size + 2:
                return body + piece, False
            body += piece[:-2]
            if not size:
                return body, True

    def _take_line(self) -> bytes:
        while b"\r\n" not in self._left:
            if not self._more():
                break
        line, end, self._left = self._left.partition(b"\r\n")
        return line + end

    def _take(self, size: int) -> bytes:
        """Up to *size* bytes; fewer if the connection ends before."""
        while len(self._left) < size and self._more():
            pass
        piece, self._left = self._left[:size], self._left[size:]
        return piece

    def _more(self) -> bool:
        try:
            piece = self._socket.recv(65536)
        except ConnectionResetError:
            piece = b""
        self._left += piece
        return bool(piece)
