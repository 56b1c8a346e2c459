"""The types between a socket and a conversation: what the tap reports, and to whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from otel_realtime.tap.owners import Owner

Frame = str | bytes
"""One whole websocket message, text or binary."""

Calls = tuple[Callable[[], None], Callable[[Frame], None], Callable[[Frame], None]]
"""The functions to call for each frame: ``before_receive``, ``received`` and ``sent``, bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """The opening handshake of one Realtime websocket; never holds a header.

    Attributes:
        path: Request path without the query, e.g. ``/v1/realtime``.
        query: The parts of the query that may be stored: ``model``, ``deployment``, ``intent``,
            ``call_id``, ``api-version``.
        host: Host of the server, as the app named it.
        port: Port of the server; ``None`` if unknown.
        started_ns: Wall time when the handshake began, in epoch nanoseconds.
        mono_ns: ``time.monotonic_ns()`` taken together with ``started_ns``.
        status: HTTP status of a refused handshake; ``None`` if accepted or if no answer came.
        error: The exception that the failed handshake raised in the app.
        owner: The framework object that opens sockets for this conversation, if known.
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
        received_code: Code of the server's close frame; ``None`` if it sent none.
        received_reason: Reason of the server's close frame; empty if there is none.
        sent_code: Code of the close frame that this side sent, first or in reply.
        by_client: Whether the app closed a connection that was open.
        error: The app's exception that left the connection's own ``with`` block. Cancellation,
            ``KeyboardInterrupt`` and ``GeneratorExit`` are not errors.
    """

    received_code: int | None
    received_reason: str
    sent_code: int | None
    by_client: bool
    error: BaseException | None = None


class Sink(Protocol):
    """One conversation; its methods are called on the app's own task or thread and never raise."""

    def before_receive(self) -> None:
        """Handle the app's request for the next frame."""

    def received(self, frame: Frame) -> None:
        """Handle a frame that is about to be returned to the app."""

    def sent(self, frame: Frame) -> None:
        """Handle a whole message that the app sends; called just before the real send."""

    def closed(self, close: Close) -> None:
        """Handle the end of the connection; called once."""

    def lost(self, close: Close) -> None:
        """Handle the loss of the connection, which its owner will reopen."""

    def regained(self) -> None:
        """Handle the reopening of the connection by its owner; frames continue."""

    def calls(self) -> Calls:
        """Return the first three methods in their fastest form.

        The tap asks for it once the sink has had time to decide whether it keeps the socket; until
        then the tap calls the sink's own methods.
        """
        ...

    def released(self) -> bool:
        """Return whether the socket is to be left alone: the tap is then removed and makes no calls."""
        ...


class ToolBlock(Protocol):
    """A tool that a framework is running; its methods never raise."""

    def leave(self, error: BaseException | None) -> None:
        """Note that the tool has returned or what it raised; called in the task that entered it."""


class Handover(Protocol):
    """A possible handover of the conversation to another agent of a framework; it never raises."""

    def made(self, agent: str) -> None:
        """Note that the handover to the agent of this name has happened."""


class Observer(Protocol):
    """Opens conversations; ``install`` takes one observer for the whole process."""

    def is_realtime(self, path: str) -> bool:
        """Return whether to offer sockets with this request path (without the query)."""
        ...

    def opened(self, handshake: Handshake, *, sdk: bool) -> Sink | None:
        """Return the sink of a Realtime websocket that is open; ``None`` leaves it untouched.

        Args:
            handshake: Opening handshake of the websocket.
            sdk: Whether it belongs to a connection object of an SDK.
        """
        ...

    def refused(self, handshake: Handshake) -> None:
        """Handle a handshake that failed.

        Args:
            handshake: The handshake, with ``error``, and with ``status`` if the server answered.
        """

    def is_sdk(self, sink: Sink) -> None:
        """Note that a sink's socket belongs to a connection object of an SDK.

        Args:
            sink: What ``opened`` returned.
        """

    def owned(self, sink: Sink, owner: Owner) -> None:
        """Note the owner of a conversation's sockets, if it is known only after the handshake.

        Args:
            sink: What ``opened`` returned.
            owner: The object that opens the sockets.
        """

    def played(self, item_id: str, content_index: int, audio_ms: float) -> None:
        """Note how far the app has played an item; may be called on any thread.

        Args:
            item_id: The server's id of the item.
            content_index: Index of the content part.
            audio_ms: Position in the part's audio, in ms.
        """

    def counts_tokens(self, sink: Sink) -> bool:
        """Return whether this conversation's tokens are reported to LangSmith.

        Args:
            sink: What ``opened`` returned.
        """
        ...

    def tool(self, call_id: str) -> ToolBlock | None:
        """Note that a framework starts to run a tool; called in the task that runs it.

        Args:
            call_id: Id of the model's call.

        Returns:
            The object to notify of the tool's end; ``None`` if no conversation knows the call.
        """
        ...

    def handover(self, call_id: str | None) -> Handover | None:
        """Note that a handover may begin now.

        Args:
            call_id: Id of the model's call that asks for it, if any.

        Returns:
            The object to notify if the handover happens; ``None`` if it belongs to no conversation.
        """
        ...
