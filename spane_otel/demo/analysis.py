"""What one execution of the demo is asked to do, drawn from a seed."""

import random
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from spane_otel.demo.definition import PLACES
from spane_otel.demo.sources import UNPARSABLE

FIRST_SEED: Final = 9_007_199_254_740_993
"""2^53 + 1: the least integer that a JavaScript number can't hold, so that a page which shows it is exact."""

BrokenFile = Literal["skip_file", "fail_package", "fail_fast"]
"""What a file that does not parse costs: itself, its package, or the execution."""

_KINDS: Final[tuple[tuple[BrokenFile | None, bool], ...]] = (
    (None, False),  # no unparsable package among the inputs
    ("fail_package", False),
    ("skip_file", False),
    ("fail_fast", False),
    (None, False),
    ("skip_file", True),  # out of time: cancelled
    (None, False),
    ("fail_package", False),
)
_AT_MOST: Final = PLACES - 1
"""Packages in one execution, beside an unparsable one."""


class Analysis(Struct, frozen=True, kw_only=True):
    """The input of an execution."""

    root: str
    packages: list[str]
    seed: int
    on_broken_file: BrokenFile = "skip_file"
    cpu_share: float = 0.2
    """The part of one core that the execution allows itself."""
    spelling_budget_s: float = 1.5
    """After this long the spelling check is cancelled."""
    busy_timeout_s: float = 0.05
    """How long the index's writer waits for a lock before it fails."""
    deadline_s: float | None = None
    """After this long the whole execution is cancelled; None: never."""
    folder: str | None = None
    """Where its files are; made by whoever starts it."""


def draw_analysis(seed: int, root: str, available: Sequence[str], unparsable: str, *, quick: bool = False) -> Analysis:
    """Return the input that `seed` stands for: packages of `available`, often with `unparsable` as the last.

    `quick` asks for fewer packages and a higher share of the core.

    Eight consecutive seeds hold one analysis that fails, one that runs out of time, two in which a package fails
    while the execution completes, one that only skips broken files, and three without a broken file.
    """
    rng = random.Random(seed)  # noqa: S311 - variety, not secrecy
    on_broken_file, is_late = _KINDS[seed % len(_KINDS)]
    ordinary = [name for name in available if name not in UNPARSABLE and name.partition(".")[0] != "test"]
    count = rng.randint(3, 5) if quick else rng.randint(5, _AT_MOST)
    packages = rng.sample(ordinary, min(count, len(ordinary)))
    if on_broken_file is not None:
        packages.append(unparsable)
    return Analysis(
        root=root,
        packages=packages,
        seed=seed,
        on_broken_file=on_broken_file or "skip_file",
        cpu_share=0.5 if quick else rng.choice((0.15, 0.2, 0.3)),
        spelling_budget_s=0.5 if quick else rng.choice((0.5, 1.5, 2.5)),
        deadline_s=(0.8 if quick else 3.0) if is_late else None,
    )
