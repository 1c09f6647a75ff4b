"""Rounds of one operation by several callers, and the tables that are made of them."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct
from processes import cpu_seconds


class Round(Struct, frozen=True):
    """What one round came to: operations, seconds, and CPU seconds of this process and of PostgreSQL."""

    operations: int
    seconds: float
    client: float
    postgres: float

    @property
    def rate(self) -> float:
        return self.operations / self.seconds


class Line(Struct, frozen=True):
    """A line of a table: what was measured, by how many callers, in which rounds, and what to compare it with."""

    name: str
    callers: int
    rounds: list[Round]
    spane: str = ""

    @property
    def rate(self) -> float:
        return statistics.median(each.rate for each in self.rounds)

    @property
    def client_us(self) -> float:
        """Microseconds of this process's CPU for one operation."""
        return statistics.median(each.client / each.operations * 1e6 for each in self.rounds)

    @property
    def postgres_us(self) -> float:
        """Microseconds of PostgreSQL's CPU for one operation; 0 without one."""
        return statistics.median(each.postgres / each.operations * 1e6 for each in self.rounds)


async def drive(run: Callable[[int], Awaitable[object]], operations: int, callers: int) -> None:
    """Run operations 0, 1, 2 … by so many callers, each of whom waits for an answer before it goes on."""
    numbers = iter(range(operations))

    async def call() -> None:
        for number in numbers:
            await run(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(call())


async def measure(
    run: Callable[[int], Awaitable[object]], operations: int, callers: int, postmaster: int | None
) -> Round:
    """Return what a round comes to; without a `postmaster` there is no PostgreSQL."""
    served = 0.0 if postmaster is None else cpu_seconds(postmaster)
    used, began = time.process_time(), time.perf_counter()
    await drive(run, operations, callers)
    seconds, used = time.perf_counter() - began, time.process_time() - used
    served = 0.0 if postmaster is None else cpu_seconds(postmaster) - served
    return Round(operations, seconds, used, served)


def print_lines(title: str, lines: Sequence[Line]) -> None:
    """Print a Markdown table: medians of the rounds, the slowest and the fastest round behind the rate."""
    rows = [["operation", "callers", "per second (min..max)", "CPU: client", "PostgreSQL", "SPANE, per second"]]
    for line in lines:
        rates = sorted(each.rate for each in line.rounds)
        rows.append(
            [
                line.name,
                str(line.callers),
                f"{line.rate:,.0f} ({rates[0]:,.0f}..{rates[-1]:,.0f})",
                f"{line.client_us:,.0f} µs",
                f"{line.postgres_us:,.0f} µs" if line.postgres_us else "",
                line.spane,
            ]
        )
    print(f"\n{title}\n")
    print_table(rows)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows, the first one as the head, as Markdown."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print(f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |")
        if number == 0:
            print(f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    print(flush=True)
