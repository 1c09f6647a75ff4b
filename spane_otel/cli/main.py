"""`spane-otel`: reads the command line and the settings, runs a command, turns errors into one line."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from spane_otel.cli import demo, exporting, importing, migrate, serve
from spane_otel.cli.environment import read_settings
from spane_otel.cli.options import override
from spane_otel.errors import ConfigurationError, SpaneError, StoreUnavailableError
from spane_otel.settings import Settings
from spane_otel.version import __version__

PROGRAM = "spane-otel"
_COMMANDS = (serve, demo, migrate, exporting, importing)
_FAILURE = 1
_MISUSE = 2


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(_MISUSE, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog=PROGRAM,
        description="Workflow executions as OpenTelemetry traces, committed to PostgreSQL and shown while they run.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0 done, 1 failed, 2 asked for wrongly, 130 interrupted."""
    arguments = build_parser().parse_args(argv)
    settings: Settings | None = None
    try:
        settings = override(read_settings(os.environ, Path(".env")), arguments)
        code: int = arguments.run(settings, arguments)
    except ConfigurationError as error:
        return _complain(str(error), _MISUSE)
    except StoreUnavailableError as error:
        return _complain(f"{error}{_advice(settings)}", _FAILURE)
    except SpaneError as error:
        return _complain(str(error), _FAILURE)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return code


def _advice(settings: Settings | None) -> str:
    """Return what to do about a database of the user's own; errors of the embedded one say it themselves."""
    if settings is None or settings.store == "embedded" or not settings.database_url:
        return ""
    return "; start it, or correct SPANE_DATABASE_URL"


def _complain(message: str, code: int) -> int:
    print(f"{PROGRAM}: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
