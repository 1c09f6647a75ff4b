"""Settings: environment variables, read once, checked, secrets masked."""

import difflib
import re
from collections.abc import Mapping
from typing import Any, Final, get_args, get_origin

import msgspec
from msgspec import Struct

from spane_otel.errors import ConfigurationError

_KUBERNETES_VALUE: Final = re.compile(r"(tcp|udp|sctp)://")
_KUBERNETES_NAME: Final = re.compile(r"SPANE_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_.+)?)")

_PASSWORD_OF_USER: Final = re.compile(r"(?s)^([^:/?#@]+://[^:/?#@]*):.*@")
_PASSWORD_OPTION: Final = re.compile(r"(?i)\b(password|sslpassword|token)\s*=\s*('[^']*'|[^&\s]*)")


class Settings(Struct, frozen=True, kw_only=True):
    """Every `SPANE_*` variable: the field `data_dir` is `SPANE_DATA_DIR`. None means not given."""

    store: str | None = None
    data_dir: str | None = None
    host: str = "127.0.0.1"
    port: int = 4380
    otlp_http_port: int = 4318
    otlp_grpc_port: int = 4317
    workers: int = 1
    database_url: str | None = None
    schema: str = "spane"
    redis_url: str | None = None
    endpoint: str | None = None
    forward: tuple[str, ...] = ()
    retention_days: int = 14
    retention_failed_days: int = 30
    max_bytes: int | None = None
    accept_past: str | None = None
    spool_dir: str | None = None
    pool_size: int | None = None
    """Connections to the database, in each event loop; this and what follows: None leaves the store's own default."""
    pool_idle_seconds: float | None = None
    pool_connect_seconds: float | None = None
    statement_seconds: float | None = None
    cache_ttl_seconds: float | None = None
    sweep_seconds: float | None = None
    memory_max_executions: int | None = None
    """Of the in-memory store, as what follows."""
    memory_max_spans: int | None = None
    memory_max_logs: int | None = None
    memory_max_logs_per_execution: int | None = None
    memory_max_spans_per_execution: int | None = None
    memory_finished_ttl_seconds: float | None = None
    memory_cleanup_seconds: float | None = None

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self._shown(name)!r}" for name in self.__struct_fields__)
        return f"Settings({shown})"

    def _shown(self, name: str) -> Any:
        value = getattr(self, name)
        if name == "forward":
            return tuple(mask_url(url) for url in value)
        return mask_url(value) if isinstance(value, str) else value

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> tuple["Settings", list[str]]:
        """Return the settings in `environ`, and a complaint for each unknown `SPANE_*` variable.

        An empty value counts as not given. The command line treats a complaint as an error, the library as a
        warning.

        Raises:
            ConfigurationError: a value can't be read; the message names the variable, never its value.

        """
        values: dict[str, Any] = {}
        complaints: list[str] = []
        for name, raw in sorted(environ.items()):
            if not name.startswith("SPANE_") or not raw or _is_kubernetes_link(name, raw):
                continue
            field = name.removeprefix("SPANE_").lower()
            if name != name.upper() or field not in cls.__struct_fields__:
                complaints.append(_unknown(name))
                continue
            values[field] = _convert(name, field, raw)
        return cls(**values), complaints


def variable_of(field: str) -> str:
    """Return the environment variable of a field of Settings."""
    return f"SPANE_{field.upper()}"


def mask_url(url: str) -> str:
    """Return `url`, or a connection string, with its passwords replaced by asterisks.

    People paste passwords unescaped, with any of `/?#@` inside, so all up to the last `@` counts as password: rather
    a host too few is shown than half a password.
    """
    return _PASSWORD_OPTION.sub(r"\1=***", _PASSWORD_OF_USER.sub(r"\1:***@", url))


def _is_kubernetes_link(name: str, raw: str) -> bool:
    """Whether Kubernetes made this variable for a service whose name begins with `spane`."""
    return bool(_KUBERNETES_VALUE.match(raw) or _KUBERNETES_NAME.fullmatch(name))


def _convert(name: str, field: str, raw: str) -> Any:
    annotation: Any = Settings.__annotations__[field]
    if get_origin(annotation) is tuple:
        return tuple(part.strip() for part in raw.split(",") if part.strip())
    try:
        return msgspec.convert(raw, annotation, strict=False)
    except msgspec.ValidationError:
        kinds = (annotation, *get_args(annotation))
        wanted = "a whole number" if int in kinds else "a number" if float in kinds else "text"
        raise ConfigurationError(f"{name} must be {wanted}") from None


def _unknown(name: str) -> str:
    known = [variable_of(field) for field in Settings.__struct_fields__]
    close = difflib.get_close_matches(name.upper(), known, n=1)
    return f"unknown setting {name}" + (f": did you mean {close[0]}?" if close else "")
