"""Which service a span belongs to, and the services of a trace in the order of their first use."""

from collections.abc import Sequence

from spane_otel.identity import UNKNOWN_SERVICE
from spane_otel.records import Resource, Span
from spane_otel.traces.visible import visible_line


class Services:
    """Names of services in the order of their first use."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self.names: list[str] = []
        self._resources = resources
        self._by_resource: dict[int, int] = {}

    def index(self, span: Span) -> int:
        """Return the position of a span's service in `names`."""
        known = self._by_resource.get(span.resource)
        if known is None:
            name = service_name(self._resources, span.resource)
            if name not in self.names:
                self.names.append(name)
            known = self._by_resource[span.resource] = self.names.index(name)
        return known


def service_name(resources: Sequence[Resource], index: int) -> str:
    """Return the service of a resource, `unknown_service` where it does not say."""
    value = resources[index].attributes.get("service.name") if index < len(resources) else None
    return visible_line(value, 120) if isinstance(value, str) and value else UNKNOWN_SERVICE
