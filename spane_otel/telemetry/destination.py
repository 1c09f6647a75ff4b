"""Where telemetry goes: from the arguments of `configure`, else from the environment (names.md, *Python*)."""

from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from spane_otel.errors import ConfigurationError
from spane_otel.settings import Settings, mask_url
from spane_otel.stores.opening import open_sink, open_store
from spane_otel.stores.protocols import TelemetrySink
from spane_otel.telemetry.persistence import SinkSource

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:4318"

_GUESS_HINT: Final = "start a collector with `spane-otel serve`, or name a store or an endpoint in `configure`"


class Destination(Struct, frozen=True):
    """The sink, and the targets beside it."""

    source: SinkSource
    label: str
    """For people."""
    forward: tuple[str, ...] = ()
    is_guess: bool = False
    """Nobody named it: it is where a collector would listen."""


def destination_of(
    store: TelemetrySink | str | None,
    endpoint: str | None,
    forward: str | Iterable[str],
    settings: Settings,
    otlp_endpoint: str | None,
) -> Destination:
    """Return where telemetry goes.

    Arguments come before settings. With a store and an endpoint the endpoint becomes a forward target. With neither:
    `SPANE_DATABASE_URL`, `SPANE_ENDPOINT`, `OTEL_EXPORTER_OTLP_ENDPOINT` (`otlp_endpoint`), the local default.

    Raises:
        ConfigurationError: a URL is none, or of no kind that is known here.

    """
    targets = ((forward,) if isinstance(forward, str) else tuple(forward)) or settings.forward
    is_guess = False
    if store is None and endpoint is None:
        store, endpoint = settings.database_url, settings.endpoint
        if store is None and endpoint is None:
            endpoint = otlp_endpoint or DEFAULT_ENDPOINT
            is_guess = otlp_endpoint is None
    if store is not None and endpoint is not None:
        targets = (endpoint, *targets)
    for url in targets:
        _check_endpoint(url)
    if store is None:
        _check_endpoint(endpoint or "")
        opener = _opener(lambda: open_sink(endpoint or ""))
        source = SinkSource(opener, hint=_GUESS_HINT if is_guess else "")
        return Destination(source, mask_url(endpoint or ""), targets, is_guess)
    if not isinstance(store, str):
        if not callable(getattr(store, "write", None)):
            raise ConfigurationError(f"{type(store).__name__!r} is no store: give one, or a URL")
        sink = store
        return Destination(SinkSource(lambda: sink, is_lent=True), type(store).__name__, targets)
    url = store
    return Destination(
        SinkSource(_opener(lambda: open_store(url, schema=settings.schema, redis_url=settings.redis_url))),
        mask_url(url),
        targets,
    )


def _opener(open_one: Callable[[], TelemetrySink]) -> Callable[[], TelemetrySink]:
    """Return what opens a sink again and again: the first is opened now, which connects to nothing.

    So what is wrong with it is said now, and its modules load in this thread: a child that is forked while another
    thread imports never gets to see the module whole.
    """
    ready = [open_one()]
    return lambda: ready.pop() if ready else open_one()


def _check_endpoint(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise ConfigurationError(f"{mask_url(url)!r} is no endpoint: use http://HOST:PORT, where OTLP/HTTP is answered")
