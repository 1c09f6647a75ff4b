"""Executions to look at: a failed one with every kind of row, a running one with a lost part, and a list of others.

Times are seconds since the story's own beginning; ids come from names, so that a span can be written again later.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from spane_otel.clock import SECOND
from spane_otel.derivation import inherit
from spane_otel.identity import content_log_id, log_trace_key, resource_row, scope_row
from spane_otel.ids import hash16, span_id_from_bytes
from spane_otel.jsontext import encode_payload
from spane_otel.records import Batch, LogRow, ResourceRow, SpanRow, SpanState, Stamp

SEVERITIES: Final = {"debug": 5, "info": 9, "warn": 13, "error": 17}
STACK: Final = """Traceback (most recent call last):
  File "/usr/lib/python3.11/asyncio/tasks.py", line 232, in __step
    result = coro.send(None)
  File "/home/anna/site-packages/spane_otel/telemetry/api.py", line 88, in run
    return await function(*args)
  File "demo/parse.py", line 142, in parse_modules
    defs += parse_module(path)
  File "demo/parse.py", line 118, in parse_module
    tree = ast.parse(source, filename=path)
  File "/usr/lib/python3.11/ast.py", line 50, in parse
    return compile(source, filename, mode, flags,
SyntaxError: invalid character '€' (U+20AC) (badsyntax_3131.py, line 2)
"""


class Story:
    """One trace, written span by span."""

    def __init__(self, name: str, begin_ns: int) -> None:
        self.name: Final = name
        self.begin_ns: Final = begin_ns
        self.trace_id: Final = hash16(b"trace", name.encode())
        self.batch: Final = Batch()
        self._scope = scope_row("demo.parse", "1.0")
        self.batch.scopes[self._scope.scope_id] = self._scope

    def span(
        self,
        key: str,
        start: float,
        end: float | None,
        *,
        name: str | None = None,
        parent: str | None = None,
        service: str = "analyse-stdlib",
        execution: str | None = None,
        node: str | None = None,
        attempt: int | None = None,
        stamp: Stamp | None = None,
        error: tuple[str, str, str] | None = None,
        state: SpanState | None = None,
        process: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Mapping[str, Any]] = (),
        events: Sequence[tuple[float, str, Mapping[str, Any]]] = (),
        revision: int = 0,
        kind: int = 1,
    ) -> SpanRow:
        """Add a span; `error` is type, message and stack of the exception that ended it."""
        resource = self._resource(service)
        values = dict(attributes or {})
        if execution is not None:
            values["spane.execution.id"] = execution
        if node is not None:
            values["spane.node.id"] = node
            values["spane.node.attempt"] = attempt or 1
        if stamp is not None and stamp.workflow_id is not None:
            values["spane.workflow.id"] = stamp.workflow_id
            if stamp.version_label:
                values["spane.workflow.version_label"] = stamp.version_label
            if stamp.parent_execution_id:
                values["spane.execution.parent_id"] = stamp.parent_execution_id
        moments = [self._event(*event) for event in events]
        if error is not None:
            details = {"exception.type": error[0], "exception.message": error[1], "exception.stacktrace": error[2]}
            moments.append(self._event(end or start, "exception", details))
        row = SpanRow(
            trace_id=self.trace_id,
            span_id=self.span_id(key),
            start_ns=self.at(start),
            end_ns=None if end is None else self.at(end),
            name=name or key,
            resource_id=resource.resource_id,
            scope_id=self._scope.scope_id,
            service=service,
            parent_id=None if parent is None else self.span_id(parent),
            kind=kind,
            status=2 if error else 0,
            status_message=f"{error[0]}: {error[1]}" if error else "",
            state=state,
            attributes=json.dumps(values),
            events=json.dumps(moments) if moments else None,
            links=json.dumps(list(links)) if links else None,
            execution_id=execution,
            node_id=node,
            process_id=process,
            revision=revision,
            seq=len(self.batch.spans),
            stamp=stamp if stamp is not None else Stamp() if execution else None,
        )
        self.batch.spans.append(row)
        return row

    def log(
        self,
        at: float,
        level: str,
        message: Any,
        *,
        span: str | None = None,
        execution: str | None = None,
        service: str = "analyse-stdlib",
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a log record."""
        row = LogRow(
            log_id=b"",
            trace_key=b"",
            time_ns=self.at(at),
            resource_id=self._resource(service).resource_id,
            scope_id=self._scope.scope_id,
            service=service,
            observed_ns=self.at(at),
            severity=SEVERITIES[level],
            severity_text=level.upper(),
            body=encode_payload(message),
            attributes=json.dumps(
                attributes or {"code.function.name": "parse_modules", "thread.id": 140_737_488_355_327}
            ),
            trace_id=self.trace_id,
            span_id=None if span is None else self.span_id(span),
            execution_id=execution,
            seq=len(self.batch.logs),
        )
        row.log_id = content_log_id(row, 0)
        row.trace_key = log_trace_key(row.trace_id, row.execution_id, row.log_id)
        self.batch.logs.append(row)

    def done(self) -> Batch:
        """Return the batch, execution and node inherited as a decoder would."""
        inherit(self.batch)
        return self.batch

    def at(self, seconds: float) -> int:
        return self.begin_ns + round(seconds * SECOND)

    def span_id(self, key: str) -> int:
        return span_id_from_bytes(hash16(self.name.encode(), key.encode())[:8])

    def _resource(self, service: str) -> ResourceRow:
        attributes = {"host.name": "atlas", "process.pid": 4131, "service.name": service}
        resource = resource_row(json.dumps(attributes), service=service)
        return self.batch.resources.setdefault(resource.resource_id, resource)

    def _event(self, at: float, name: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "name": name,
            "time_ns": str(self.at(at)),
            "attributes": dict(attributes),
            "dropped_attributes_count": 0,
        }


def failed_story(begin_ns: int, execution: str = "0199c4e2-7b1f-7c3a-9d51-0c8f6a2e4b7d") -> Batch:
    """Return an execution that failed far inside, with a retry, a cancellation, a skipped node and a lost parent."""
    story = Story(execution, begin_ns)
    error = ("SyntaxError", "invalid character '€' (U+20AC) (badsyntax_3131.py, line 2)", STACK)
    locked = ("sqlite3.OperationalError", "database is locked", "")
    given = {
        "root": "/usr/lib/python3.11",
        "packages": [f"package{n}" for n in range(24)],
        "fail_fast": False,
        "spelling_budget_s": 2.5,
        "seed": 2**53 + 1,
    }
    top = Stamp(workflow_id="analyse_stdlib", version_label="v12", input=json.dumps(given))
    e: dict[str, Any] = {"execution": execution}
    story.span("root", 0, 38.64, name="analyse_stdlib", stamp=top, error=error, **e)
    story.span("discover_files", 0.01, 1.49, parent="root", node="discover_files", **e)
    story.span(
        "os.walk",
        0.02,
        1.18,
        parent="discover_files",
        attributes={"url.path": "/usr/lib/python3.11"},
        events=[(0.6, "half", {"n": 906})],
        **e,
    )
    story.span(
        "insert",
        1.2,
        1.47,
        name="INSERT files",
        parent="discover_files",
        service="index-writer",
        attributes={"db.system.name": "sqlite"},
        kind=3,
        **e,
    )
    story.span("parse_packages", 1.5, 24.31, parent="root", node="parse_packages", error=error, **e)
    for number, package in enumerate(("asyncio", "email", "json", "test")):
        child = f"{execution[:23]}-child-{package}"
        failing = package == "test"
        start = 2.0 + number * 0.4
        end = 24.2 if failing else start + 3.4
        inner = Stamp(
            workflow_id="parse_package",
            version_label=f'"{package}"',
            parent_execution_id=execution,
            root_execution_id=execution,
            depth=1,
        )
        parent = story.span(
            package,
            start,
            end,
            name="parse_package",
            parent="parse_packages",
            service="parse-worker",
            execution=child,
            stamp=inner,
            error=error if failing else None,
        )
        assert parent.execution_id == child
        story.span(
            f"{package}.read",
            start + 0.1,
            start + 1.8,
            name="read_sources",
            parent=package,
            service="parse-worker",
            execution=child,
            node="read_sources",
        )
        story.span(
            f"{package}.modules",
            start + 1.9,
            end - 0.1,
            name="parse_modules",
            parent=package,
            service="parse-worker",
            execution=child,
            node="parse_modules",
            error=error if failing else None,
        )
        for module in range(5 if failing else 18):
            at = start + 1.95 + module * 0.07
            story.span(
                f"{package}.{module}",
                at,
                at + 0.06,
                name="ast.parse",
                parent=f"{package}.modules",
                service="parse-worker",
                execution=child,
                attributes={"file.path": f"{package}/module_{module}.py"},
            )
        if failing:
            story.span(
                "broken",
                23.612,
                23.6404,
                name="ast.parse",
                parent="test.modules",
                service="parse-worker",
                execution=child,
                error=error,
                attributes={
                    "file.path": "test/badsyntax_3131.py",
                    "file.size": 32,
                    "source.sha256_64": -(2**63),
                    "big": 2**53 + 1,
                    "code.url": "https://docs.python.org/3/library/ast.html",
                    "ratio": 0.1,
                    "flags": [1, True, "x"],
                },
                links=[
                    {
                        "trace_id": story.trace_id.hex(),
                        "span_id": f"{story.span_id('test.read') & 0xFFFF_FFFF_FFFF_FFFF:016x}",
                        "trace_state": "",
                        "flags": 0,
                        "attributes": {"why": "follows"},
                        "dropped_attributes_count": 0,
                    }
                ],
            )
            story.span(
                "count",
                23.65,
                24.1,
                name="count_complexity",
                parent="test.modules",
                service="parse-worker",
                execution=child,
            )
            story.span(
                "store",
                24.1,
                24.1,
                name="store_definitions",
                parent="test",
                service="parse-worker",
                execution=child,
                node="store_definitions",
                state="skipped",
            )
            story.log(
                9.8,
                "warn",
                "test/test_tools/test_c_analyzer: 3 files are larger than 500 kB",
                span="test.modules",
                execution=child,
                service="parse-worker",
            )
            story.log(
                15.4, "info", "600 of 812 files parsed", span="test.modules", execution=child, service="parse-worker"
            )
            story.log(
                23.613,
                "debug",
                "parsing test/badsyntax_3131.py",
                span="broken",
                execution=child,
                service="parse-worker",
            )
            story.log(
                23.65,
                "error",
                "cannot parse test/badsyntax_3131.py: invalid character '€' (U+20AC)",
                span="broken",
                execution=child,
                service="parse-worker",
            )
    story.span(
        "compact", 24.4, 29.96, name="compact_index", parent="root", service="index-writer", node="compact_index", **e
    )
    story.span(
        "vacuum",
        24.45,
        29.9,
        name="VACUUM",
        parent="compact",
        service="index-writer",
        attributes={"db.system.name": "sqlite"},
        kind=3,
        **e,
    )
    story.span(
        "spelling",
        24.4,
        27.07,
        name="check_spelling",
        parent="root",
        node="check_spelling",
        state="cancelled",
        events=[(27.07, "exception", {"exception.type": "CancelledError", "exception.message": "2.5 s budget used"})],
        **e,
    )
    story.span(
        "write.1",
        24.4,
        29.44,
        name="write_index",
        parent="root",
        service="index-writer",
        node="write_index",
        attempt=1,
        error=locked,
        **e,
    )
    story.span(
        "begin",
        24.42,
        29.42,
        name="BEGIN IMMEDIATE",
        parent="write.1",
        service="index-writer",
        error=locked,
        attributes={"db.system.name": "sqlite"},
        kind=3,
        **e,
    )
    story.span(
        "write.2",
        30.44,
        31.19,
        name="write_index",
        parent="root",
        service="index-writer",
        node="write_index",
        attempt=2,
        **e,
    )
    story.span(
        "commit",
        31.05,
        31.13,
        name="COMMIT",
        parent="write.2",
        service="index-writer",
        attributes={"db.system.name": "sqlite"},
        kind=3,
        **e,
    )
    story.span("cycles", 31.2, 38.47, name="find_import_cycles", parent="root", node="find_import_cycles", **e)
    story.span("graph", 31.25, 32.7, name="build_graph", parent="cycles", **e)
    story.span("orphan", 33.0, 34.0, name="strongly_connected", parent="never arrived", **e)
    for at, level, text, where in (
        (0.006, "info", "starting with root=/usr/lib/python3.11, 24 packages", "root"),
        (0.64, "debug", "skipping __pycache__ in 188 directories", "os.walk"),
        (1.48, "info", "found 1,812 files in 24 packages, 31.4 MB", "discover_files"),
        (24.9, "warn", "index.sqlite3 is locked, waiting (0.5 s)", "write.1"),
        (27.1, "warn", "index.sqlite3 is locked, waiting (2.7 s)", "write.1"),
        (29.365, "error", "attempt 1 failed: database is locked; next attempt in 1.00 s", "write.1"),
        (37.9, "warn", "14 import cycles, the longest has 31 modules", "cycles"),
    ):
        story.log(at, level, text, span=where, **e)
    return story.done()


def running_story(
    begin_ns: int,
    execution: str = "0199c4f4-02aa-7d10-8a3e-5b7c9d1e2f30",
    *,
    alive: str = "p-alive",
    gone: str = "p-gone",
) -> Batch:
    """Return an execution that runs, one part of it in a process that is silent; heartbeats are the caller's."""
    story = Story(execution, begin_ns)
    locked = ("sqlite3.OperationalError", "database is locked", "")
    e: dict[str, Any] = {"execution": execution, "process": alive}
    story.span(
        "root",
        0,
        None,
        name="analyse_site_packages",
        stamp=Stamp(
            workflow_id="analyse_site_packages",
            version_label="v3",
            input='{"root": "/usr/lib/python3/dist-packages", "packages": 24}',
        ),
        **e,
    )
    story.span("discover", 0.1, 2.33, name="discover_files", parent="root", node="discover_files", **e)
    story.span("parse", 2.4, None, name="parse_packages", parent="root", node="parse_packages", **e)
    for package, process, start in (("numpy", gone, 3.0), ("sympy", alive, 20.0)):
        child = f"{execution[:23]}-{package}"
        stamp = Stamp(
            workflow_id="parse_package",
            version_label=f'"{package}"',
            parent_execution_id=execution,
            root_execution_id=execution,
            depth=1,
        )
        story.span(
            package,
            start,
            None,
            name="parse_package",
            parent="parse",
            service="parse-worker",
            execution=child,
            stamp=stamp,
            process=process,
        )
        story.span(
            f"{package}.read",
            start + 0.2,
            start + 2.1,
            name="read_sources",
            parent=package,
            service="parse-worker",
            execution=child,
            node="read_sources",
            process=process,
        )
        story.span(
            f"{package}.modules",
            start + 2.2,
            None,
            name="parse_modules",
            parent=package,
            service="parse-worker",
            execution=child,
            node="parse_modules",
            process=process,
        )
        story.log(
            start + 3,
            "warn",
            f"{package}/lib/npyio.py: deprecated alias",
            span=f"{package}.modules",
            execution=child,
            service="parse-worker",
        )
    for attempt, (start, end) in enumerate(((20.0, 25.02), (26.0, 31.02), (33.0, None)), start=1):
        story.span(
            f"write.{attempt}",
            start,
            end,
            name="write_index",
            parent="root",
            service="index-writer",
            node="write_index",
            attempt=attempt,
            error=locked if end else None,
            **e,
        )
    story.span(
        "begin",
        33.1,
        None,
        name="BEGIN IMMEDIATE",
        parent="write.3",
        service="index-writer",
        attributes={"db.system.name": "sqlite"},
        **e,
    )
    story.span("foreign", 22.0, None, name="upload report", parent="root", service="object-store", execution=execution)
    story.log(
        34.0,
        "warn",
        "index.sqlite3 is locked, waiting (1.3 s)",
        span="write.3",
        execution=execution,
        service="index-writer",
    )
    return story.done()


def plain_story(
    begin_ns: int,
    execution: str,
    workflow: str,
    seconds: float,
    *,
    label: str = "v12",
    error: tuple[str, str, str] | None = None,
    state: SpanState | None = None,
    warnings: int = 0,
) -> Batch:
    """Return a small execution for a list."""
    story = Story(execution, begin_ns)
    story.span(
        "root",
        0,
        seconds,
        name=workflow,
        execution=execution,
        stamp=Stamp(workflow_id=workflow, version_label=label, output='{"ok": true}'),
        error=error,
        state=state,
    )
    story.span(
        "work", seconds * 0.1, seconds * 0.9, name="work", parent="root", node="work", execution=execution, error=error
    )
    for number in range(warnings):
        story.log(seconds * number / 10, "warn", f"slow answer {number}", span="work", execution=execution)
    return story.done()


def foreign_story(begin_ns: int, name: str = "GET /orders/{id}") -> Batch:
    """Return a trace that no execution owns, with a remote parent that never came and a shared span id."""
    story = Story(f"foreign {name}", begin_ns)
    story.span(
        "server",
        0,
        0.412,
        name=name,
        service="shop",
        kind=2,
        attributes={"http.request.method": "GET", "url.path": "/orders/42", "http.response.status_code": 500},
    )
    story.span(
        "select",
        0.02,
        0.06,
        name="SELECT orders",
        parent="server",
        service="shop",
        kind=3,
        attributes={"db.system.name": "postgresql", "db.namespace": "shop"},
    )
    story.span(
        "call",
        0.07,
        0.4,
        name="GET",
        parent="server",
        service="shop",
        kind=3,
        attributes={"url.full": "http://stock.local/items/42"},
        error=("ConnectionError", "stock.local refused the connection", ""),
    )
    story.span("call", 0.1, 0.3, name="GET /items/{id}", parent="call", service="stock", kind=2)
    story.span("late", 0.2, 0.35, name="publish", parent="lost", service="shop", kind=4)
    return story.done()


def seed(now_ns: int) -> list[Batch]:
    """Return everything: about thirty executions of the last hours, and foreign traces."""
    batches = [foreign_story(now_ns - 95 * SECOND), foreign_story(now_ns - 40 * SECOND, "POST /orders")]
    for number in range(24):
        begin = now_ns - (300 + number * 290) * SECOND
        execution = f"0199c{0xFFF - number:03x}-{number:04x}-7c3a-9d51-0c8f6a2e4b7d"
        workflow = ("analyse_stdlib", "analyse_stdlib", "reindex_docs")[number % 3]
        seconds = (29.1 + number % 7, 31.4 - number % 5, 3.9 + number / 50)[number % 3]
        refused = ("ConnectionRefusedError", "[Errno 111] Connect call failed ('127.0.0.1', 9200)", "")
        batches.append(
            plain_story(
                begin,
                execution,
                workflow,
                912.4 if number == 9 else seconds,
                label="1.8.2" if workflow == "reindex_docs" else "v12",
                error=refused if number % 8 == 5 else None,
                state="cancelled" if number == 6 else None,
                warnings=(4, 2, 0)[number % 3],
            )
        )
    return [*batches, failed_story(now_ns - 200 * SECOND), running_story(now_ns - 64 * SECOND)]
