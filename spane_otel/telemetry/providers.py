"""The global TracerProvider and LoggerProvider: those that exist, else new ones of ours."""

import logging
from typing import Any, Final

from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider

_log: Final = logging.getLogger(__name__)
_OURS: Final[list[Any]] = []
"""Providers that we made: a later `configure` may rename their service."""


def tracer_provider(service_name: str | None) -> TracerProvider:
    """Return the SDK's global provider, made if there is none; its resource is that of `service_name` if it is ours."""
    existing = trace.get_tracer_provider()
    if isinstance(existing, TracerProvider):
        _rename(existing, service_name)
        return existing
    made = TracerProvider(resource=_resource(service_name), shutdown_on_exit=False)
    _OURS.append(made)
    trace.set_tracer_provider(made)
    if trace.get_tracer_provider() is not made:
        _log.warning("another TracerProvider than OpenTelemetry's SDK is set: only executions and nodes are recorded")
    return made


def logger_provider(resource: Resource) -> LoggerProvider:
    """Return the SDK's global provider, made if there is none."""
    existing = _logs.get_logger_provider()
    if isinstance(existing, LoggerProvider):
        if existing in _OURS:
            _update(existing, resource)
        return existing
    made = LoggerProvider(resource=resource, shutdown_on_exit=False)
    _OURS.append(made)
    _logs.set_logger_provider(made)
    return made


def private_providers(service_name: str | None) -> tuple[TracerProvider, LoggerProvider]:
    """Return providers of our own that nobody else finds: the global ones stay as they are, or unset."""
    resource = _resource(service_name)
    return (
        TracerProvider(resource=resource, shutdown_on_exit=False),
        LoggerProvider(resource=resource, shutdown_on_exit=False),
    )


def _resource(service_name: str | None) -> Resource:
    return Resource.create({SERVICE_NAME: service_name} if service_name else {})


def _rename(provider: TracerProvider, service_name: str | None) -> None:
    if service_name is None or provider.resource.attributes.get(SERVICE_NAME) == service_name:
        return
    if provider in _OURS:
        _update(provider, Resource({SERVICE_NAME: service_name}))
    else:
        _log.warning(
            "the TracerProvider that exists keeps its service.name %r, not %r",
            provider.resource.attributes.get(SERVICE_NAME),
            service_name,
        )


def _update(provider: TracerProvider | LoggerProvider, resource: Resource) -> None:
    update = getattr(provider, "_update_resource", None)  # the SDK does it this way after a fork
    if update is not None:
        update(resource)
