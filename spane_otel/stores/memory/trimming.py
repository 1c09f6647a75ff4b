"""What goes where more was added to an execution by hand than is held of one."""

from operator import attrgetter
from typing import Final

from spane_otel.stores.memory.held.additions import AddedSpan, ExecutionAdditions
from spane_otel.stores.memory.held.state import State

_SLACK: Final = 10
"""A tenth of the limit goes at once, so that a full execution isn't gone through at each call."""


def trim_spans(state: State, of: ExecutionAdditions, most: int, newest: AddedSpan) -> int:
    """Let go of spans if there are more than `most`, but not of `newest`; return how many went.

    Leaves go before their parents: first those that have ended, the oldest first, then those that run; those without
    a parent go last.
    """
    if len(of.spans) <= most:
        return 0
    count = min(len(of.spans) - most + most // _SLACK, len(of.spans) - 1)
    gone = 0
    while gone < count:
        for span in _next_to_go(of, newest)[: count - gone]:
            _drop_span(state, of, span)
            gone += 1
    _forget_gone(of)
    return gone


def trim_logs(state: State, of: ExecutionAdditions, most: int) -> int:
    """Let go of the oldest log records if there are more than `most`; return how many went."""
    if len(of.logs) <= most:
        return 0
    count = min(len(of.logs) - most + most // _SLACK, len(of.logs))
    for log in sorted(of.logs.values(), key=attrgetter("time_ns"))[:count]:  # of equals the one added first
        del of.logs[log.text]
        log.is_gone = True
        if log.given is not None:
            state.additions.new_logs -= 1
        if log.key is not None:
            state.telemetry.drop_log(log.key)
    _forget_gone(of)
    return count


def _next_to_go(of: ExecutionAdditions, newest: AddedSpan) -> list[AddedSpan]:
    """Return the spans that go next, in their order; never none while there are others than `newest`."""
    leaves: tuple[list[AddedSpan], ...] = ([], [], [], [])
    for span in of.spans.values():
        if not span.children and span is not newest:
            leaves[(not span.has_parent) * 2 + (span.end_ns is None)].append(span)
    for place, found in enumerate(leaves):
        if found:
            return sorted(found, key=_START if place % 2 else _END)  # of equals the one added first
    # All that is left leads to the newest: its way up breaks below the root.
    others = [span for span in of.spans.values() if span is not newest]
    return [span for span in others if span.has_parent] or others


_END: Final = attrgetter("end_ns")
_START: Final = attrgetter("start_ns")


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
