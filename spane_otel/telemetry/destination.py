"""Where telemetry goes: from the arguments of `configure`, else from the environment (names.md, *Python*)."""

from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from spane_otel.errors import ConfigurationError
from spane_otel.settings import Settings, mask_url
from spane_otel.stores.opening import open_sink, open_store
from spane_otel.stores.protocols import TelemetrySink

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:4318"


class Destination(Struct, frozen=True):
    """The sink, and the targets beside it."""

    open_sink: Callable[[], TelemetrySink]
    label: str
    """For people."""
    forward: tuple[str, ...] = ()
    is_guess: bool = False
    """Nobody named it: it is where a collector would listen."""
    is_lent: bool = False
    """The sink is the caller's, who closes it."""


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
        return Destination(_opener(lambda: open_sink(endpoint or "")), mask_url(endpoint or ""), targets, is_guess)
    if not isinstance(store, str):
        sink = store
        return Destination(lambda: sink, type(store).__name__, targets, is_lent=True)
    url = store
    return Destination(_opener(lambda: open_store(url, schema=settings.schema)), mask_url(url), targets)


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
