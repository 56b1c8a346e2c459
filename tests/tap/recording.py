"""An observer and sinks that write down what the tap tells them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from otel_realtime.tap import Close, Handshake
from otel_realtime.tap.interface import Calls
from otel_realtime.tap.owners import Owner


class RecordingSink:
    """Keeps the frames and the closes of one conversation, and who told them."""

    def __init__(self, released_after: int | None = None) -> None:
        self.asked = 0
        self.received_frames: list[str | bytes] = []
        self.sent_frames: list[str | bytes] = []
        self.closes: list[Close] = []
        self.gaps: list[object] = []
        self.closed_in: list[object] = []
        self.teller: Callable[[], object] = threading.get_ident
        self.calls_after_released = 0
        self._released_after = released_after
        self._gone = False

    @property
    def received_text(self) -> list[str]:
        return [text(frame) for frame in self.received_frames]

    def before_receive(self) -> None:
        self.calls_after_released += self._gone
        self.asked += 1

    def received(self, frame: str | bytes) -> None:
        self.calls_after_released += self._gone
        self.received_frames.append(frame)

    def sent(self, frame: str | bytes) -> None:
        self.calls_after_released += self._gone
        self.sent_frames.append(frame)

    def closed(self, close: Close) -> None:
        self.calls_after_released += self._gone
        self.closed_in.append(self.teller())
        self.closes.append(close)

    def lost(self, close: Close) -> None:
        self.gaps.append(close.received_code)

    def regained(self) -> None:
        self.gaps.append("regained")

    def calls(self) -> Calls:
        return self.before_receive, self.received, self.sent

    def released(self) -> bool:
        count = len(self.received_frames)
        self._gone = self._released_after is not None and count >= self._released_after
        return self._gone


class RecordingObserver:
    """Opens a recording sink for each connection, unless it was made to decline."""

    def __init__(self, *, declines: bool = False, released_after: int | None = None) -> None:
        self.handshakes: list[Handshake] = []
        self.refusals: list[Handshake] = []
        self.sinks: list[RecordingSink] = []
        self.sdk_sinks: list[object] = []
        self.played_positions: list[tuple[str, int, float]] = []
        self._declines = declines
        self._released_after = released_after

    def is_realtime(self, path: str) -> bool:
        return path.endswith("/realtime")

    def opened(self, handshake: Handshake, *, sdk: bool) -> RecordingSink | None:
        self.handshakes.append(handshake)
        if self._declines:
            return None
        sink = RecordingSink(self._released_after)
        self.sinks.append(sink)
        if sdk:
            self.sdk_sinks.append(sink)
        return sink

    def refused(self, handshake: Handshake) -> None:
        self.refusals.append(handshake)

    def is_sdk(self, sink: object) -> None:
        self.sdk_sinks.append(sink)

    def owned(self, sink: object, owner: Owner) -> None:
        """Nobody opens several sockets here."""

    def played(self, item_id: str, content_index: int, audio_ms: float) -> None:
        self.played_positions.append((item_id, content_index, audio_ms))

    def counts_tokens(self, sink: object) -> bool:
        """Nobody is told of tokens here."""
        return False

    def tool(self, call_id: str) -> None:
        """Nobody runs tools here."""

    def handover(self, call_id: str | None) -> None:
        """Nor hands anything over."""

    @property
    def sink(self) -> RecordingSink:
        """The only conversation there was."""
        (sink,) = self.sinks
        return sink


def text(frame: str | bytes) -> str:
    """A frame as text; the SDK asks for bytes, the library gives text."""
    return frame if isinstance(frame, str) else frame.decode()
