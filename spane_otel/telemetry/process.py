"""The pipelines of this process: the one that records, those replaced, and what happens at exit and after a fork."""

import atexit
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from spane_otel.telemetry.context import CURRENT
from spane_otel.telemetry.persistence import SHUTDOWN_SECONDS

if TYPE_CHECKING:
    from spane_otel.telemetry.pipeline import Pipeline

GUESS_SECONDS: Final = 1.0
"""At exit, at most, where nobody named the collector and none has ever answered."""
REPLACED_SECONDS: Final = 30.0
"""How long a pipeline that was replaced keeps trying to write what it holds."""

_log: Final = logging.getLogger(__name__)


class Process:
    """The pipeline that records this process now, and those replaced that still write what they hold."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.pipeline: Pipeline | None = None
        self.is_guess = False
        self.patience = SHUTDOWN_SECONDS
        """At exit, at most."""
        self._replaced: list[Pipeline] = []
        self._private: list[Pipeline] = []
        """Those that record a part of this process alone, e.g. an engine, into a sink of its own."""
        self._inherited: list[Pipeline] = []
        """A parent's, never touched."""
        self._has_hooks = False

    def replace(self, pipeline: "Pipeline | None", *, is_guess: bool = False) -> "Pipeline | None":
        """Put `pipeline` in the place of the one before, which is returned and records nothing more."""
        with self.lock:
            before = self.pipeline
            if before is not None:
                before.detach()
            self.pipeline = CURRENT.recorder = pipeline
            self.is_guess = is_guess
            if pipeline is not None:
                pipeline.attach()
                self._add_hooks()
            return before

    def retire(self, pipeline: "Pipeline") -> None:
        """Let a replaced pipeline write what it holds, without waiting for it."""
        self._replaced.append(pipeline)
        pipeline.begin_stop(REPLACED_SECONDS)

    def pipelines(self) -> "list[Pipeline]":
        """Return every pipeline that may still hold something, the current one last."""
        self._replaced = [each for each in self._replaced if not each.worker.is_finished]
        return [*self._replaced, *self._private, *([self.pipeline] if self.pipeline is not None else [])]

    def add_private(self, pipeline: "Pipeline") -> None:
        """Flush a private pipeline with the others, and write what it holds when the process exits."""
        with self.lock:
            self._private.append(pipeline)
            pipeline.attach()
            self._add_hooks()

    def remove_private(self, pipeline: "Pipeline") -> None:
        """Forget a private pipeline, which records nothing more."""
        with self.lock:
            self._private.remove(pipeline)
            pipeline.detach()

    def stop(self, timeout: float) -> int:
        """Stop recording and write what is left; return how many spans and logs were not written."""
        deadline = time.monotonic() + timeout
        pipelines = [each for each in self.pipelines() if each not in self._private]
        self.replace(None)
        self._replaced = []
        return sum(each.stop(max(deadline - time.monotonic(), 0.0)) for each in pipelines)

    def stop_at_exit(self) -> None:
        """Write what is left, in bounded time, and say once if something is lost."""
        pipeline = self.pipeline
        is_hopeless = self.is_guess and pipeline is not None and not pipeline.worker.has_delivered
        for each in self._private:
            each.begin_stop(self.patience)
        left = self.stop(GUESS_SECONDS if is_hopeless else self.patience)
        left += sum(each.stop(self.patience) for each in self._private)
        if left:
            _log.warning("%d spans and logs could not be written before the process ended", left)

    def after_fork(self) -> None:
        """In a forked child: everything anew; what the parent's threads hold is left alone."""
        self.lock = threading.RLock()
        self._inherited.extend(self._replaced)
        self._replaced = []
        for each in (*self._private, *([self.pipeline] if self.pipeline is not None else [])):
            each.after_fork()

    def _add_hooks(self) -> None:
        if not self._has_hooks:
            self._has_hooks = True
            atexit.register(self.stop_at_exit)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self.after_fork)


PROCESS: Final = Process()
