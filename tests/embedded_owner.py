"""Run as a program: owns an embedded PostgreSQL until its standard input ends, or it is killed."""

import signal
import sys
from pathlib import Path

from spane_otel.errors import SpaneError
from spane_otel.stores.embedded import EmbeddedPostgres

if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests with nohup has it ignored
    try:
        with EmbeddedPostgres(Path(sys.argv[1]) if len(sys.argv) > 1 else None, settings={"fsync": "off"}) as server:
            print(server.url, flush=True)
            sys.stdin.read()
    except SpaneError as error:
        sys.exit(f"{type(error).__name__}: {error}")
