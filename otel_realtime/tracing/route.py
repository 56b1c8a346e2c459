"""Where one conversation goes besides the app's own exporters; decided when it opens.

A backend's package makes it (``langsmith.route``); without one, ``Route()`` sends nothing anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from otel_realtime.attributes import LEG_DIRECT, LEG_NONE
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.delivery.model import Backend
from otel_realtime.settings import Settings
from otel_realtime.tracing.members import Membership, Outlet

Join = Callable[..., Membership]


class Services(Protocol):
    """What a backend's package may ask of the process."""

    def backend(self, key: Hashable, make: Callable[[], Backend]) -> Backend:
        """Return the process's backend of that key; it is made once."""
        ...

    def tidy(self, settings: Settings) -> None:
        """Hold the state directory within its bounds."""
        ...


class ChooseRoute(Protocol):
    """Decides where a conversation goes that opens now."""

    def __call__(self, settings: Settings, provider: object, services: Services, /) -> Route:
        """Return its route; ``provider`` is the app's TracerProvider."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What is decided of a conversation before its root starts.

    Attributes:
        leg: value of ``otel_realtime.langsmith.leg``.
        policy: what of its content may be stored.
        connect: returns the backend that takes its root run and recording; None: this process
            delivers neither.
        join: makes its ``Membership``, of that class's arguments.
        note: what its journal keeps, so that another process can deliver to the same backend.
    """

    leg: str = LEG_NONE
    policy: ContentPolicy = field(default_factory=ContentPolicy)
    connect: Callable[[], Backend] | None = None
    join: Join = Membership
    note: Callable[[Membership], Mapping[str, Any]] = lambda _membership: {}

    @property
    def delivers_root(self) -> bool:
        """Whether this process delivers the root run, and can attach a recording."""
        return self.connect is not None

    def outlet(self, backend: Backend | None) -> Outlet | None:
        """Return where the ended spans go: to the backend itself, on leg ``direct``."""
        put = getattr(backend, "put", None)
        return backend if self.leg == LEG_DIRECT and put is not None else None  # type: ignore[return-value]
