"""One OTLP request out over HTTP/1.1, and its class of outcome.

asyncio's streams carry it, httptools parses the answer. Every request has a time limit as a whole, redirects are not
followed, and no more than 64 KiB of an answer is read: an answer can't hold up or fill a process that traces.
"""

import asyncio
import base64
import email.utils
import gzip
import logging
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

import httptools
from msgspec import Struct, field
from opentelemetry.util.re import parse_env_headers

from spane_otel.errors import ConfigurationError
from spane_otel.settings import mask_url
from spane_otel.version import __version__

MAX_ANSWER_BYTES: Final = 64 * 1024
"""Of the head, and of the body."""
RETRYABLE: Final = frozenset({408, 429, 502, 503, 504})
"""opentelemetry-proto, docs/specification.md, *Retryable Response Codes*; and 408, by which our own service says that
the request came too slowly."""
GZIP_FROM_BYTES: Final = 1_024

_log: Final = logging.getLogger(__name__)


class Answer(Struct, frozen=True):
    """What became of a request."""

    outcome: Literal["delivered", "retry", "refused"]
    """`refused`: sending the same again would end the same."""
    detail: str = ""
    """For people: what went wrong, and where."""
    status: int | None = None
    """None: there was no answer."""
    headers: dict[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""
    retry_after: float | None = None
    """Seconds that the peer asks us to wait."""


class TransportOptions(Struct, frozen=True):
    """How to talk to a peer."""

    headers: dict[str, str] = field(default_factory=dict)
    timeout: float = 10.0
    """Seconds for a request as a whole, connecting included."""
    gzip: bool = False
    certificate: str | None = None
    """A file of certificate authorities, for https."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "TransportOptions":
        """Return what `OTEL_EXPORTER_OTLP_HEADERS`, `_TIMEOUT`, `_COMPRESSION` and `_CERTIFICATE` say.

        Raises:
            ConfigurationError: the time-out is no number of seconds above 0.

        """
        raw_timeout = environ.get("OTEL_EXPORTER_OTLP_TIMEOUT") or "10"
        try:
            timeout = float(raw_timeout)
        except ValueError:
            timeout = 0.0
        if not timeout > 0:
            raise ConfigurationError("OTEL_EXPORTER_OTLP_TIMEOUT must be a number of seconds above 0")
        return cls(
            headers=dict(parse_env_headers(environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True)),
            timeout=timeout,
            gzip=environ.get("OTEL_EXPORTER_OTLP_COMPRESSION", "").strip().lower() == "gzip",
            certificate=environ.get("OTEL_EXPORTER_OTLP_CERTIFICATE") or None,
        )


class Transport:
    """Sends OTLP requests in protobuf to one base URL, one at a time, over a connection that is kept open.

    It may move to another event loop (after a fork, say): the connection of the one before is left alone.

    Raises:
        ConfigurationError: `url` is not http(s)://HOST[:PORT][/PATH], or a header can't be sent.

    """

    def __init__(self, url: str, options: TransportOptions | None = None) -> None:
        self._options: Final = options or TransportOptions()
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigurationError(f"{mask_url(url)!r} is no URL") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"{mask_url(url)!r} is no endpoint: use http://HOST:PORT")
        self.address: Final = mask_url(url)
        """What to show people."""
        self._host: Final = parts.hostname
        self._port: Final = port or (443 if parts.scheme == "https" else 80)
        self._is_tls: Final = parts.scheme == "https"
        self._path: Final = parts.path.rstrip("/").removesuffix("/v1/traces").removesuffix("/v1/logs")
        self._head: Final = _head(
            parts.netloc.rpartition("@")[2], parts.username, parts.password, self._options.headers
        )
        self._connection: _Connection | None = None

    async def post(self, path: str, body: bytes) -> Answer:
        """Send `body` to `path` (`/v1/traces`) below the base URL and return what became of it; never raises."""
        request = self._request(path, body)
        try:
            async with asyncio.timeout(self._options.timeout):
                answer = await self._exchange(request)
        except TimeoutError:
            self._drop_connection()
            return Answer("retry", f"no answer from {self.address} within {self._options.timeout:g} s")
        except (OSError, httptools.HttpParserError, asyncio.IncompleteReadError) as error:
            self._drop_connection()
            return Answer("retry", f"no answer from {self.address}: {str(error) or type(error).__name__}")
        return self._classify(answer)

    async def aclose(self) -> None:
        """Close the connection, within a second; safe to call twice."""
        connection = self._connection
        self._drop_connection()
        if connection is not None:
            await connection.wait_closed()

    def _request(self, path: str, body: bytes) -> bytes:
        encoding = b""
        if self._options.gzip and len(body) >= GZIP_FROM_BYTES:
            body, encoding = gzip.compress(body, 1), b"Content-Encoding: gzip\r\n"
        line = f"POST {self._path}{path} HTTP/1.1\r\n".encode()
        return b"%b%b%bContent-Length: %d\r\n\r\n%b" % (line, self._head, encoding, len(body), body)

    async def _exchange(self, request: bytes) -> "_Response":
        connection = self._connection
        if connection is not None and connection.is_usable():
            try:
                return await self._exchange_over(connection, request)
            except (OSError, asyncio.IncompleteReadError):
                if connection.has_answered:
                    raise
                # It was closed while it was idle: what was sent has not been looked at.
                self._drop_connection()
        elif connection is not None:
            self._drop_connection()
        connection = self._connection = await _Connection.open(self._host, self._port, self._tls())
        return await self._exchange_over(connection, request)

    async def _exchange_over(self, connection: "_Connection", request: bytes) -> "_Response":
        response = await connection.exchange(request)
        if not response.keeps_connection:
            self._drop_connection()
        return response

    def _tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self._options.certificate) if self._is_tls else None

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _classify(self, response: "_Response") -> Answer:
        status = response.status
        retry_after = _seconds(response.headers.get("retry-after"))
        body = bytes(response.body)
        if 200 <= status < 300:
            return Answer("delivered", "", status, response.headers, body)
        outcome: Literal["retry", "refused"] = "retry" if status in RETRYABLE else "refused"
        return Answer(outcome, f"{self.address} answered {status}", status, response.headers, body, retry_after)


class _Response:
    """What httptools calls while it parses."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.is_complete = False
        self.keeps_connection = False
        self._has_head = False
        self._head_bytes = 0

    def feed(self, data: bytes) -> None:
        """Parse more of the answer; what is beyond the limits is not kept, and ends it."""
        if not self._has_head:
            self._head_bytes += len(data)
            if self._head_bytes > 2 * MAX_ANSWER_BYTES:
                raise httptools.HttpParserError("the head of the answer is too large")
        self.parser.feed_data(data)

    def feed_end(self) -> None:
        """Note that the peer has closed: that ends a body of no given length."""
        if not self._has_head:
            raise ConnectionResetError("the connection was closed before the answer")
        self.is_complete = True
        self.keeps_connection = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) < 100:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self._has_head = self.status >= 200  # 1xx: the answer proper follows

    def on_body(self, data: bytes) -> None:
        room = MAX_ANSWER_BYTES - len(self.body)
        self.body += data[:room]
        if len(data) > room:
            self.is_complete = True

    def on_message_complete(self) -> None:
        if self._has_head:
            if not self.is_complete:
                self.keeps_connection = self.parser.should_keep_alive()
            self.is_complete = True
        else:
            self.headers.clear()


class _Connection:
    """A connection of one event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader: Final = reader
        self._writer: Final = writer
        self._loop: Final = asyncio.get_running_loop()
        self.has_answered = False
        """Whether anything of an answer to the latest request has come."""

    @classmethod
    async def open(cls, host: str, port: int, tls: ssl.SSLContext | None) -> "_Connection":
        return cls(*await asyncio.open_connection(host, port, ssl=tls))

    def is_usable(self) -> bool:
        return self._is_ours() and not self._reader.at_eof() and not self._writer.is_closing()

    async def exchange(self, request: bytes) -> _Response:
        self.has_answered = False
        self._writer.write(request)
        with suppress(ConnectionError):  # a peer may answer, and close, before it has read all
            await self._writer.drain()
        response = _Response()
        while not response.is_complete:
            data = await self._reader.read(MAX_ANSWER_BYTES)
            if data:
                self.has_answered = True
                response.feed(data)
            else:
                response.feed_end()
        return response

    def close(self) -> None:
        if self._is_ours():
            self._writer.close()
        else:
            _LEFT_ALONE.append(self)

    async def wait_closed(self) -> None:
        if self._is_ours():
            with suppress(OSError):
                async with asyncio.timeout(1.0):
                    await self._writer.wait_closed()

    def _is_ours(self) -> bool:
        try:
            return self._loop is asyncio.get_running_loop()
        except RuntimeError:
            return False


_LEFT_ALONE: Final[list[_Connection]] = []
"""Connections of other event loops, kept so that nothing closes them: after a fork they are the parent's."""


def _head(authority: str, username: str | None, password: str | None, headers: Mapping[str, str]) -> bytes:
    """Return the head of each request without its first line and length."""
    lines = {
        "Host": authority,
        "User-Agent": f"spane-otel/{__version__}",
        "Content-Type": "application/x-protobuf",
        "Accept-Encoding": "identity",
    }
    if username is not None:
        credentials = f"{unquote(username)}:{unquote(password or '')}"
        lines["Authorization"] = f"Basic {base64.b64encode(credentials.encode()).decode()}"
    lines.update(headers)
    try:
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("latin-1")
    except UnicodeEncodeError:
        raise ConfigurationError("a header for OTLP holds what HTTP can't send") from None
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
        raise ConfigurationError("a header for OTLP holds a line break")
    return head


def _seconds(retry_after: str | None) -> float | None:
    """Return what `Retry-After` asks for: a number of seconds, or a date (RFC 9110, section 10.2.3)."""
    if retry_after is None:
        return None
    if retry_after.strip().isdigit():
        return float(retry_after[:10])
    try:
        moment = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(moment.timestamp() - time.time(), 0.0)
