"""The templates: how a value becomes text in a page.

Every value is escaped for HTML by the engine, and before that every string is made visible (`traces/visible.py`).
`line` puts it on one line, `exact` leaves it as it is, for what is copied and never shown.
"""

import json
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from spane_otel.server.ui.assets import asset_url
from spane_otel.server.ui.moments import utc_time
from spane_otel.traces.visible import visible, visible_line
from spane_otel.traces.wording import age, count, counted, duration, offset


class Exact(str):
    """Text that is not made visible; it is escaped for HTML like any other."""

    __slots__ = ()


def _finalize(value: Any) -> Any:
    if type(value) is str:  # markup of a macro, and Exact, are subclasses
        return visible(value)
    return "" if value is None else value


def execution_path(execution_id: str, suffix: str = "") -> str:
    """Return the address of an execution's page. Browsers collapse `.` and `..`: those two go into the query."""
    if execution_id in (".", ".."):
        return f"/execution?id={execution_id}"
    return f"/executions/{quote(execution_id, safe='')}{suffix}"


def trace_path(trace_id: str) -> str:
    """Return the address of a trace's page."""
    return f"/traces/{quote(trace_id, safe='')}"


LONG: Final = 20_000
"""Characters of a long text that stand in a page; copying gives all of it."""


def _long(text: str) -> str:
    return text if len(text) <= LONG else f"{text[:LONG]}… {counted(len(text) - LONG, 'character')} more"


def _copyable(text: str) -> Exact:
    """Return `text` as a JSON string: an attribute of HTML would change its line ends."""
    return Exact(json.dumps(text))


def _json(value: Any) -> Exact:
    """Return `value` as JSON, for a module to read from an attribute."""
    return Exact(json.dumps(value))


def make_environment() -> Environment:
    """Return the environment of every template; an undefined name is an error."""
    environment = Environment(
        loader=PackageLoader("spane_otel.server.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "age": age,
        "copyable": _copyable,
        "count": count,
        "counted": counted,
        "duration": duration,
        "exact": Exact,
        "json": _json,
        "line": visible_line,
        "long": _long,
        "offset": offset,
        "utc": utc_time,
    }
    environment.globals |= {"asset": asset_url, "execution_path": execution_path, "trace_path": trace_path}
    return environment


TEMPLATES: Final = make_environment()
