"""What processes used: CPU and memory of a process and of all that descend from it, from /proc (Linux)."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Return user and system time of `pid` and its descendants, those that ended and were waited for included."""
    total = 0
    for each in descendants(pid):
        fields = _stat(each)
        if fields is not None:
            # proc(5): utime 14, stime 15, cutime 16, cstime 17; the list begins at field 3
            total += sum(int(field) for field in fields[11:15])
    return total / _TICKS


def resident_bytes(pid: int) -> int:
    """Return the memory that `pid` itself holds."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def descendants(pid: int) -> set[int]:
    """Return `pid` and all processes below it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields is not None:
                parents[int(entry.name)] = int(fields[1])
    family = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in family} - family
        if not more:
            return family
        family |= more


def parent_of(pid: int) -> int:
    """Return the process that `pid` was started by.

    Raises:
        ProcessLookupError: there is no such process on this machine.

    """
    fields = _stat(pid)
    if fields is None:
        raise ProcessLookupError(pid)
    return int(fields[1])


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the third on; None if the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()
