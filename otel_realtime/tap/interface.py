"""The types between a socket and a conversation: what the tap reports, and to whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from otel_realtime.tap.owners import Owner

Frame = str | bytes
"""One whole websocket message, text or binary."""

Calls = tuple[Callable[[], None], Callable[[Frame], None], Callable[[Frame], None]]
"""What is called for each frame: ``before_receive``, ``received`` and ``sent``, bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """The opening handshake of one Realtime websocket; never holds a header.

    Attributes:
        path: Request path without the query, e.g. ``/v1/realtime``.
        query: What may be kept of the query: ``model``, ``deployment``, ``intent``, ``call_id``,
            ``api-version``.
        host: Host of the server, as the app named it.
        port: Its port, ``None`` when unknown.
        started_ns: Wall time when the handshake began, epoch nanoseconds.
        mono_ns: ``time.monotonic_ns()`` taken together with ``started_ns``.
        status: HTTP status of a refused handshake; ``None`` when accepted or when no answer came.
        error: The exception that the failed handshake raised in the app.
        owner: Who opens sockets for this conversation, where that is known to be a framework.
    """

    path: str
    query: Mapping[str, str]
    host: str
    port: int | None
    started_ns: int
    mono_ns: int
    status: int | None = None
    error: BaseException | None = None
    owner: Owner | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """How the connection of a conversation ended.

    The codes are those of https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1.

    Attributes:
        received_code: Code of the server's close frame, ``None`` without one.
        received_reason: Its reason, empty without one.
        sent_code: Code of the close frame that this side sent, first or in answer.
        by_client: The app closed a connection that was open.
        error: The app's exception that left the connection's own ``with`` block. Cancellation,
            ``KeyboardInterrupt`` and ``GeneratorExit`` are not errors.
    """

    received_code: int | None
    received_reason: str
    sent_code: int | None
    by_client: bool
    error: BaseException | None = None


class Sink(Protocol):
    """One conversation; called on the app's own task or thread, and never raises."""

    def before_receive(self) -> None:
        """Handle the app's request for the next frame."""

    def received(self, frame: Frame) -> None:
        """Handle a frame that is about to be returned to the app."""

    def sent(self, frame: Frame) -> None:
        """Handle a whole message that the app sends; called just before the real send."""

    def closed(self, close: Close) -> None:
        """Handle the end of the connection; called once."""

    def lost(self, close: Close) -> None:
        """Handle that the connection was lost, and that its owner opens it anew."""

    def regained(self) -> None:
        """Handle that the owner has opened it anew; frames go on."""

    def calls(self) -> Calls:
        """Return the three calls above in their fastest form.

        Asked for when the sink has had time to decide whether it keeps the socket; until then its
        own methods are called.
        """
        ...

    def released(self) -> bool:
        """Return whether this is not a Realtime socket: the tap is removed and calls no more."""
        ...


class ToolBlock(Protocol):
    """A tool that a framework is running; never raises."""

    def leave(self, error: BaseException | None) -> None:
        """Note that it has returned, or what it raised; in the task that entered it."""


class Handover(Protocol):
    """A framework may be handing the conversation over to another of its agents; never raises."""

    def made(self, agent: str) -> None:
        """Note that it did, to the agent of this name."""


class Observer(Protocol):
    """Opens conversations; ``install`` takes one for the whole process."""

    def is_realtime(self, path: str) -> bool:
        """Return whether sockets of this request path (without its query) are to be offered."""
        ...

    def opened(self, handshake: Handshake, *, sdk: bool) -> Sink | None:
        """Return the sink of a Realtime websocket that is open; ``None`` leaves it untouched.

        Args:
            handshake: Its opening handshake.
            sdk: It belongs to a connection object of an SDK.
        """
        ...

    def refused(self, handshake: Handshake) -> None:
        """Handle a handshake that failed.

        Args:
            handshake: With ``error``, and ``status`` if the server answered.
        """

    def is_sdk(self, sink: Sink) -> None:
        """Note that a sink's socket belongs to a connection object of an SDK.

        Args:
            sink: What ``opened`` returned.
        """

    def owned(self, sink: Sink, owner: Owner) -> None:
        """Note who opens the sockets of a conversation, where that shows only after the handshake.

        Args:
            sink: What ``opened`` returned.
            owner: Who does.
        """

    def played(self, item_id: str, content_index: int, audio_ms: float) -> None:
        """Note how far the app has played an item; called on any thread.

        Args:
            item_id: The server's id of the item.
            content_index: Which part of it.
            audio_ms: Position in its audio.
        """

    def counts_tokens(self, sink: Sink) -> bool:
        """Return whether this conversation's tokens are reported to LangSmith.

        Args:
            sink: What ``opened`` returned.
        """
        ...

    def tool(self, call_id: str) -> ToolBlock | None:
        """Note that a framework runs a tool from now on; called in the task that runs it.

        Args:
            call_id: The model's call.

        Returns:
            What must be told of its end; ``None`` if no conversation knows the call.
        """
        ...

    def handover(self, call_id: str | None) -> Handover | None:
        """Note that a handover may begin now.

        Args:
            call_id: The model's call that asks for it, if any.

        Returns:
            What must be told if it is made; ``None`` if it is of no conversation.
        """
        ...
