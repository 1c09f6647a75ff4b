"""An HTTP peer that answers exactly the bytes a test wants."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

Answers = Callable[["Request"], bytes | None]


class Request:
    """What the peer was sent."""

    def __init__(self, line: str, headers: dict[str, str], body: bytes, connection: int) -> None:
        self.line: Final = line
        self.headers: Final = headers
        self.body: Final = body
        self.connection: Final = connection
        """Counts connections, from 1."""


class Peer:
    """Listens on loopback; `answer` returns what to send back, None to close without a word."""

    def __init__(self, answer: Answers) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._writers.append(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *lines = head.rstrip("\r\n").split("\r\n")
                headers = {key.lower(): value for key, value in (each.split(": ", 1) for each in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                request = Request(line, headers, body, number)
                self.requests.append(request)
                answer = self.answer(request)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if re.search(rb"(?i)connection: close", answer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def hang_up(self) -> None:
        """Close every connection, as a peer does with those that are idle."""
        for writer in self._writers:
            writer.close()

    async def stop(self) -> None:
        self.hang_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def serve(answer: Answers) -> AsyncIterator[Peer]:
    """Serve until the block ends."""
    peer = Peer(answer)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        await peer.stop()


def respond(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """Return an HTTP answer; underscores in the names of headers are dashes."""
    lines = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body
