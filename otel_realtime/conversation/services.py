"""The process and its socket observer, as used by the functions that the app calls.

Both exist from import on. The modules that a conversation needs are imported when one is to be traced;
``instrument()`` imports them ahead, in the background.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_realtime.conversation.paths import is_realtime
from otel_realtime.process.process import PROCESS, Process

if TYPE_CHECKING:
    from otel_realtime.conversation.sockets import Sockets
    from otel_realtime.tap.interface import Handover, Handshake, Sink, ToolBlock
    from otel_realtime.tap.owners import Owner

__all__ = ["PROCESS", "SOCKETS"]


class _Observer:
    """Forwards what concerns a conversation to ``Sockets``; implements ``tap.interface.Observer``.

    Args:
        process: services of this process.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._sockets: Sockets | None = None

    @property
    def sockets(self) -> Sockets:
        """The ``Sockets`` instance, which opens conversations on sockets."""
        self._process.loading.catch_up()
        if self._sockets is None:  # it has no state, so it does no harm if two threads create one
            from otel_realtime.conversation.sockets import Sockets

            self._sockets = Sockets(self._process)
        return self._sockets

    def is_realtime(self, path: str) -> bool:
        """Return whether a request path matches one of ``Settings.realtime_paths``."""
        return is_realtime(path, self._process.settings)

    def opened(self, handshake: Handshake, *, sdk: bool) -> Sink | None:
        """Return the sink of a websocket that was opened."""
        return self.sockets.opened(handshake, sdk=sdk)

    def refused(self, handshake: Handshake) -> None:
        """Trace a refused handshake."""
        self.sockets.refused(handshake)

    def is_sdk(self, sink: Sink) -> None:
        """Note that a sink's socket belongs to a connection object of the SDK."""
        self.sockets.is_sdk(sink)

    def owned(self, sink: Sink, owner: Owner) -> None:
        """Note which object of a framework opens the sockets of a conversation."""
        self.sockets.owned(sink, owner)

    def counts_tokens(self, sink: Sink) -> bool:
        """Return whether this conversation's tokens are reported to LangSmith."""
        return self.sockets.counts_tokens(sink)

    def played(self, item_id: str, content_index: int, audio_ms: float) -> None:
        """Record a playback position that the app reported to its SDK."""
        if self._process.live:
            self.sockets.played(item_id, content_index, audio_ms)

    def tool(self, call_id: str) -> ToolBlock | None:
        """Enter the block of a tool that a framework runs."""
        return self.sockets.tool(call_id) if self._process.live else None

    def handover(self, call_id: str | None) -> Handover | None:
        """Note that a framework may hand a conversation over."""
        return self.sockets.handover(call_id) if self._process.live else None


#: Opens conversations on tapped sockets.
SOCKETS: Final = _Observer(PROCESS)
