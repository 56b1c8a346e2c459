"""Where a conversation is delivered besides the app's own exporters; decided when it opens.

A backend's package makes the route (``langsmith.route``); the default, ``Route()``, delivers nothing.
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

#: Makes a ``Membership`` from that class's keyword arguments.
Join = Callable[..., Membership]


class Services(Protocol):
    """Services of the process that a backend's package may use."""

    def backend(self, key: Hashable, make: Callable[[], Backend]) -> Backend:
        """Return the process's backend for a key; ``make`` is called only the first time."""
        ...

    def tidy(self, settings: Settings) -> None:
        """Delete the oldest undelivered data if the state directory exceeds its bounds."""
        ...


class ChooseRoute(Protocol):
    """Decides where a conversation that opens now is delivered."""

    def __call__(
        self,
        settings: Settings,
        provider: object,
        services: Services,
        project: str | None = None,
        /,
    ) -> Route:
        """Return the route.

        Args:
            settings: settings of the conversation.
            provider: the app's ``TracerProvider``.
            services: services of the process.
            project: the backend's project that the app named; ``None``: the one in the environment.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Decisions about a conversation that are made before its root starts.

    Attributes:
        leg: value of ``otel_realtime.langsmith.leg``.
        policy: which content may be stored.
        connect: returns the backend of its root run and recording; ``None``: this process delivers
            neither.
        join: makes its ``Membership``.
        note: returns the backend's address as JSON values, for the journal: another process may
            have to deliver to the same backend.
    """

    leg: str = LEG_NONE
    policy: ContentPolicy = field(default_factory=ContentPolicy)
    connect: Callable[[], Backend] | None = None
    join: Join = Membership
    note: Callable[[Membership], Mapping[str, Any]] = lambda _membership: {}

    @property
    def delivers_root(self) -> bool:
        """Whether this process delivers the root run, and with it the recording."""
        return self.connect is not None

    def outlet(self, backend: Backend | None) -> Outlet | None:
        """Return the outlet for ended spans: the backend itself, and only on leg ``direct``."""
        # Not every backend accepts spans: ``put`` is not part of the ``Backend`` protocol.
        put = getattr(backend, "put", None)
        return backend if self.leg == LEG_DIRECT and put is not None else None  # type: ignore[return-value]


def may_record(settings: Settings, policy: ContentPolicy) -> bool:
    """Return whether policy and settings allow recording audio."""
    return policy.audio and settings.record_audio


def is_wanted(settings: Settings, *, delivers_root: bool) -> bool:
    """Return whether a recording has a destination; without one, no recording is made.

    Args:
        settings: settings of the conversation.
        delivers_root: as in ``Route``.
    """
    kept = settings.recordings_dir is not None or settings.on_recording is not None
    return kept or delivers_root
