"""What the tap tells and whom it tells: the types between a socket and a conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """The opening handshake of one Realtime websocket; it never holds a header.

    Attributes:
        path: Request path without the query, e.g. `/v1/realtime`.
        query: What may be kept of the query: `model`, `deployment`, `intent`, `call_id`, `api-version`.
        host: Host of the server, as the app named it.
        port: Its port, `None` when unknown.
        started_ns: Wall time when the handshake began, epoch nanoseconds.
        done_ns: Wall time when it ended, epoch nanoseconds.
        mono_ns: `time.monotonic_ns()` taken together with `started_ns`.
        status: HTTP status of a refused handshake; `None` when accepted or when no answer came.
        error: What the failed handshake raised in the app.
    """

    path: str
    query: Mapping[str, str]
    host: str
    port: int | None
    started_ns: int
    done_ns: int
    mono_ns: int
    status: int | None = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """How a conversation's connection ended.

    Attributes:
        received_code: Code of the server's close frame, `None` without one.
        received_reason: Its reason, empty without one.
        sent_code: Code of the close frame this side sent, first or in answer.
        by_client: The app closed a connection that was open.
        error: The app's exception that left the connection's own `with` block. Cancellation,
            `KeyboardInterrupt` and `GeneratorExit` are none.
    """

    received_code: int | None
    received_reason: str
    sent_code: int | None
    by_client: bool
    error: BaseException | None = None


Calls = tuple[Callable[[], None], Callable[[str | bytes], None], Callable[[str | bytes], None]]
"""What one frame costs: `before_receive`, `received` and `sent`, bound."""


class Sink(Protocol):
    """One conversation, told of its frames on the app's own task or thread; it never raises."""

    def before_receive(self) -> None:
        """The app asks for the next frame."""

    def received(self, frame: str | bytes) -> None:
        """A frame is about to be handed to the app."""

    def sent(self, frame: str | bytes) -> None:
        """The app hands a whole message to the socket; called just before the real send."""

    def closed(self, close: Close) -> None:
        """The conversation's connection ended for good; told once."""

    def calls(self) -> Calls:
        """The three calls above as the tap should make them; asked for again while undecided."""
        ...

    def released(self) -> bool:
        """Return whether this socket is none of ours: the tap comes off and calls the sink no more."""
        ...


class Observer(Protocol):
    """Opens conversations; one per process is given to `install`."""

    def opened(self, handshake: Handshake, *, sdk: bool) -> Sink | None:
        """A Realtime websocket is open; `None` leaves it untouched."""
        ...

    def refused(self, handshake: Handshake) -> None:
        """A handshake under `/realtime` failed."""

    def is_sdk(self, sink: Sink) -> None:
        """The socket of this sink now belongs to an SDK connection object."""

    def played(self, item_id: str, content_index: int, audio_ms: float) -> None:
        """An SDK was told by the app how far an item has been played; on any thread."""
