"""Spans and logs that are written by hand."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from spane_otel.errors import UnknownExecutionError, UnknownSpanError
from spane_otel.stores.added import new_change, new_log, new_span
from spane_otel.stores.admission import Window, check_text, is_storable, window_at
from spane_otel.stores.postgres.added_logs import AddedLogs
from spane_otel.stores.postgres.added_spans import AddedSpans
from spane_otel.stores.postgres.parents import Parents
from spane_otel.stores.postgres.part import Part
from spane_otel.stores.postgres.recent import RecentSpans
from spane_otel.stores.postgres.span_changes import SpanChanges
from spane_otel.stores.protocols import AddedStatus


class AddedTelemetry(Part):
    """Spans and logs that are written by hand."""

    @cached_property
    def _recent_spans(self) -> RecentSpans:
        return RecentSpans()

    @cached_property
    def _parents(self) -> Parents:
        return Parents(self._recent_spans)

    @cached_property
    def _added_spans(self) -> AddedSpans:
        return AddedSpans(self._database, self._load, self._resource, self._recent_spans, self._parents)

    @cached_property
    def _added_logs(self) -> AddedLogs:
        return AddedLogs(self._database, self._load, self._resource, self._parents)

    @cached_property
    def _span_changes(self) -> SpanChanges:
        return SpanChanges(self._database, self._recent_spans)

    async def add_log(
        self,
        execution_id: str,
        message: str,
        *,
        level: str = "info",
        node_id: str | None = None,
        id: str | None = None,  # noqa: A002 - the name in the API
        time_ns: int | None = None,
        span_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        now_ns = self._clock.now_ns()
        if span_id is not None:
            check_text(span_id, "span id")
        text, row = new_log(
            execution_id,
            message,
            resource=self._resource,
            now_ns=now_ns,
            window=self._window(now_ns),
            level=level,
            node_id=node_id,
            id=id,
            time_ns=time_ns,
            metadata=metadata,
        )
        await self._added_logs.add(execution_id, row, span_id, is_named=id is not None)
        return text

    async def add_span(
        self,
        execution_id: str,
        *,
        name: str,
        id: str | None = None,  # noqa: A002 - the name in the API
        node_id: str | None = None,
        parent_id: str | None = None,
        start_ns: int | None = None,
        status: AddedStatus = "running",
        error: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        now_ns = self._clock.now_ns()
        text, new = new_span(
            execution_id,
            resource=self._resource,
            now_ns=now_ns,
            window=self._window(now_ns),
            name=name,
            id=id,
            node_id=node_id,
            parent_id=parent_id,
            start_ns=start_ns,
            status=status,
            error=error,
            metadata=metadata,
        )
        await self._added_spans.add(execution_id, text, new, is_named=id is not None)
        return text

    async def update_span(
        self,
        execution_id: str,
        span_id: str,
        *,
        end_ns: int | None = None,
        status: AddedStatus | None = None,
        error: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        change = new_change(now_ns=self._clock.now_ns(), end_ns=end_ns, status=status, error=error, metadata=metadata)
        if not is_storable(execution_id):
            raise UnknownExecutionError(execution_id)
        if not is_storable(span_id):
            raise UnknownSpanError(execution_id, span_id)
        await self._span_changes.update(execution_id, span_id, change)

    def _forget_added(self, execution_id: str) -> None:
        """Believe no longer what was added to an execution: it was deleted."""
        self._recent_spans.forget_execution(execution_id)
        self._parents.forget_execution(execution_id)

    def _window(self, now_ns: int) -> Window:
        return window_at(now_ns, self._accept_past_days)
