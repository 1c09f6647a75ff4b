"""Two processes on one database: what one saves as a workflow, the other pins at once, whatever either has cached."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.system

PROGRAM = "tests.integration.versions_program"
REPOSITORY = Path(__file__).parents[2]


class Peer:
    """A process of its own that does what it is told."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def tell(self, **command: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self.hear()

    def hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process ended"
        return json.loads(line)


@contextmanager
def start_peer(*urls: str) -> Iterator[Peer]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANE_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", PROGRAM, *urls],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
        cwd=REPOSITORY,
    )
    try:
        peer = Peer(process)
        assert peer.hear() == "ready"
        yield peer
        process.communicate(timeout=20)  # its input ends, and so does it
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("is_cached", [False, True], ids=["alone", "through redis"])
def test_what_one_process_saves_the_other_pins_at_once(
    is_cached: bool, migrated_postgres_url: str, request: pytest.FixtureRequest
) -> None:
    urls = [migrated_postgres_url, *([request.getfixturevalue("redis_url")] if is_cached else [])]
    with start_peer(*urls) as one, start_peer(*urls) as other:
        for turn in range(20):
            saver, creator = (one, other) if turn % 3 else (other, one)
            version = saver.tell(save=f"n{turn}")
            assert version == turn + 1
            for peer in (creator, saver):
                pinned = peer.tell(create=f"e{turn} {peer is one}")
                assert pinned == {"version": version, "nodes": [[f"n{turn}"]] * 3}
