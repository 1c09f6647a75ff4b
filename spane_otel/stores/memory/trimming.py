"""What goes where more was added to an execution by hand than is held of one."""

from operator import attrgetter
from typing import Final

from spane_otel.stores.memory.held.additions import AddedLog, AddedSpan, ExecutionAdditions
from spane_otel.stores.memory.held.state import State

_FORESEEN: Final = 4
"""The next quarter of the limit is found together, so that a full execution isn't gone through at each call."""
_BROKEN: Final = 4
"""After every rank of a leaf: no span but the newest is one."""


def trim_spans(state: State, of: ExecutionAdditions, most: int, newest: AddedSpan) -> int:
    """Let go of spans until there are no more than `most`, but not of `newest`; return how many went.

    Leaves go before their parents: first those that have ended, the oldest first, then those that run; those without
    a parent go last.
    """
    if of.newest is not None:
        of.reconsider(of.newest)  # it could not go before
    of.newest = newest
    gone = 0
    spans = of.spans
    while len(spans) > most and len(spans) > 1:
        _drop_span(state, of, _next_to_go(of, newest, most // _FORESEEN + 1))
        gone += 1
    _forget_gone(of)
    return gone


def trim_logs(state: State, of: ExecutionAdditions, most: int, newest: AddedLog) -> int:
    """Let go of the oldest log records until there are no more than `most`; return how many went."""
    if of.going_logs and newest.time_ns < of.going_logs[0].time_ns:
        of.going_logs.clear()
    gone = 0
    while len(of.logs) > most:
        if not of.going_logs:
            oldest = sorted(of.logs.values(), key=_TIME)[: most // _FORESEEN + 1]  # of equals the one added first
            of.going_logs = oldest[::-1]
        log = of.going_logs.pop()
        if of.logs.get(log.text) is log:
            _drop_log(state, of, log)
            gone += 1
    _forget_gone(of)
    return gone


def _next_to_go(of: ExecutionAdditions, newest: AddedSpan, foreseen: int) -> AddedSpan:
    """Return the span that goes next; never none while there are others than `newest`."""
    while of.going:
        span = of.going.pop()
        if span.is_gone or span is newest:
            continue
        if of.going_rank == _BROKEN or (not span.children and span.rank_to_go == of.going_rank):
            return span
    found, of.going_rank = _first_to_go(of, newest)
    of.going = found[:foreseen][::-1]
    return of.going.pop()


def _first_to_go(of: ExecutionAdditions, newest: AddedSpan) -> tuple[list[AddedSpan], int]:
    """Return the spans that go before all others, in their order, and their rank."""
    leaves: tuple[list[AddedSpan], ...] = ([], [], [], [])
    for span in of.spans.values():
        if not span.children and span is not newest:
            leaves[(not span.has_parent) * 2 + (span.end_ns is None)].append(span)
    for rank, found in enumerate(leaves):
        if found:
            return sorted(found, key=_START if rank % 2 else _END), rank  # of equals the one added first
    # All that is left leads to the newest: its way up breaks below the root.
    others = [span for span in of.spans.values() if span is not newest]
    return [span for span in others if span.has_parent] or others, _BROKEN


_TIME: Final = attrgetter("time_ns")
_END: Final = attrgetter("end_ns")
_START: Final = attrgetter("start_ns")


def _drop_log(state: State, of: ExecutionAdditions, log: AddedLog) -> None:
    del of.logs[log.text]
    log.is_gone = True
    if log.given is not None:
        state.additions.new_logs -= 1
    if log.key is not None:
        state.telemetry.drop_log(log.key)


def _drop_span(state: State, of: ExecutionAdditions, span: AddedSpan) -> None:
    of.drop_span(span)
    if span.key is not None:
        state.telemetry.drop_span(span.key)
    else:
        of.trimmed += 1
        state.additions.new_spans -= 1


def _forget_gone(of: ExecutionAdditions) -> None:
    """Keep the list of what is pending as long as what is held, about."""
    if len(of.pending) > 2 * (len(of.spans) + len(of.logs)):
        of.pending = [each for each in of.pending if not each.is_gone]
