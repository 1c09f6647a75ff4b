"""`spane-otel serve` as a process of its own: started, spoken to, killed, started again."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

READY = re.compile(r"ready ui=(?P<ui>http://\S+) otlp=(?P<otlp>http://\S+)")


class ServiceProcess:
    """A running service; `ui` and `otlp` are its addresses."""

    def __init__(
        self, *options: str, command: str = "serve", environ: Mapping[str, str] | None = None, ready_within: float = 60
    ) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPANE_", "OTEL_"))}
        for name in ("DATABASE_URL", "REDIS_URL"):
            kept.pop(name, None)
        arguments: Sequence[str] = (command, "--port", "0", "--otlp-http-port", "0", *options)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spane_otel.cli.main", *arguments],
            env={**kept, **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.errors: list[str] = []
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()
        watchdog = threading.Timer(ready_within, self.process.kill)
        watchdog.start()
        assert self.process.stdout is not None
        try:
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        match = READY.match(line)
        if match is None:
            self.kill()
            self._reader.join(5)
            raise AssertionError(f"not ready: {line!r}\n{''.join(self.errors)}")
        self.ui = match["ui"]
        self.otlp = match["otlp"]
        self._drain = threading.Thread(target=self._read_output, daemon=True)
        self._drain.start()

    @property
    def otlp_address(self) -> tuple[str, int]:
        parts = urlsplit(self.otlp)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def get(self, path: str) -> Any:
        """Return the JSON that the API answers, None where it answers 404."""
        try:
            with urllib.request.urlopen(self.ui + path, timeout=10) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise

    def kill(self) -> None:
        """End the process as the kernel's out-of-memory killer would."""
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """Ask the process to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self._reap()
        return self.process.returncode

    def _reap(self) -> None:
        self.process.wait(10)
        self._reader.join(10)
        if hasattr(self, "_drain"):
            self._drain.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        for _ in self.process.stdout:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()
