"""Twilio media streams: how much audio was played to a caller, and what the caller said.

Twilio buffers the audio that it receives and plays it in real time. After each chunk an app may
send a ``mark`` message; Twilio returns the mark when playback has reached it, **or when a ``clear``
message empties the buffer**. ``MediaStream`` distinguishes the two cases::

    stream = MediaStream(call)
    ...
    await twilio.send_json(media_message(delta))
    await twilio.send_json(mark_message(stream.mark(event.item_id, event.content_index, delta)))
    ...
    stream.clear()  # whenever a clear message is sent
    ...
    stream.received(message)  # for every message from Twilio

The Realtime session must use ``audio/pcmu`` in both directions; it is Twilio's only format.

Messages: https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_realtime import diagnostics
from otel_realtime.conversation.public import Conversation, record_user_mulaw
from otel_realtime.diagnostics import walled
from otel_realtime.interrupts import let_through

__all__ = ["MediaStream", "Playing"]

#: mu-law has 8 bits per sample, here at 8 kHz.
BYTES_PER_MS: Final = 8
#: Maximum number of pending marks, far more than Twilio's buffer holds. It bounds the memory use of
#: an app that does not pass Twilio's messages to ``received``.
MAX_MARKS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Playing:
    """The last position that playback is known to have reached.

    The attributes are the arguments of ``conversation.item.truncate``:
    https://platform.openai.com/docs/api-reference/realtime-client-events/conversation/item/truncate

    Attributes:
        item_id: the item that is playing.
        content_index: the content part that is playing.
        audio_ms: position in the part that was certainly played; the true position may be later.
    """

    item_id: str
    content_index: int
    audio_ms: int


class MediaStream:
    """Tracks the playback of one media stream and reports it to the conversation.

    Args:
        call: the conversation; ``None`` means that playback is only tracked.
        record_user: whether to record the caller's audio from Twilio's messages instead of from
            what the app appends to the input buffer.
    """

    def __init__(self, call: Conversation | None = None, *, record_user: bool = False) -> None:
        self._call = call
        self._record_user = record_user
        self._mark_count = 0
        #: (item id, content index) -> length of its audio sent so far.
        self._sent_ms: dict[tuple[str, int], float] = {}
        #: Pending marks in order: name -> (item id, content index, end of its audio in ms).
        self._marks: OrderedDict[str, tuple[str, int, float]] = OrderedDict()
        #: Pending marks that a clear has overtaken.
        self._cleared: set[str] = set()
        self._playing: Playing | None = None

    def mark(self, item_id: str, content_index: int, audio: str | bytes) -> str:
        """Register audio that is sent to Twilio.

        Args:
            item_id: the item that the audio belongs to.
            content_index: the content part that the audio belongs to.
            audio: mu-law bytes, or their base64 text, as in ``delta`` and ``payload``.

        Returns:
            The name of the mark to send after the audio, even if the audio cannot be read.
        """
        self._mark_count += 1
        name = f"otel-realtime-{self._mark_count}"
        self._sent(name, item_id, content_index, audio)
        return name

    @walled
    def _sent(self, name: str, item_id: str, content_index: int, audio: str | bytes) -> None:
        part = (item_id, content_index)
        end_ms = self._sent_ms.get(part, 0.0) + _size(audio) / BYTES_PER_MS
        self._sent_ms[part] = end_ms
        self._marks[name] = (item_id, content_index, end_ms)
        while len(self._marks) > MAX_MARKS:
            self._cleared.discard(self._marks.popitem(last=False)[0])

    def clear(self) -> Playing | None:
        """Register a ``clear`` message; call this method whenever one is sent.

        Returns:
            The position for ``conversation.item.truncate``; later items were not played at all.
            ``None`` if no audio was pending.
        """
        # After a clear Twilio also returns the pending marks, although their audio was not played.
        pending = [name for name in self._marks if name not in self._cleared]
        self._cleared.update(pending)
        if not pending:
            return None
        item_id, content_index, _ = self._marks[pending[0]]
        playing = self._playing
        if playing is None or (playing.item_id, playing.content_index) != (item_id, content_index):
            playing = Playing(item_id, content_index, 0)
        return playing

    def received(self, message: str | bytes | Mapping[str, Any]) -> None:
        """Handle a message from Twilio; irrelevant messages are ignored.

        Args:
            message: the message, as JSON text or decoded.
        """
        try:
            event = message if isinstance(message, Mapping) else json.loads(message)
            event_type = event.get("event")
            if event_type == "mark":
                self._handle_mark(event["mark"]["name"])
            elif event_type == "media" and self._record_user:
                self._handle_media(event["media"])
        except BaseException as error:  # noqa: BLE001 - our errors must not reach the app
            let_through(error)
            diagnostics.fault("twilio", error)

    def _handle_mark(self, name: str) -> None:
        position = self._marks.pop(name, None)
        if position is None:
            return  # a mark that the app itself sent
        if name in self._cleared:
            self._cleared.discard(name)
            return
        item_id, content_index, end_ms = position
        self._playing = Playing(item_id, content_index, int(end_ms))
        if self._call is not None:
            self._call.played(item_id, content_index, end_ms)

    def _handle_media(self, media: Mapping[str, Any]) -> None:
        # A stream started with track="both_tracks" carries the agent's audio as "outbound".
        if self._call is not None and media.get("track", "inbound") == "inbound":
            record_user_mulaw(self._call, base64.b64decode(media["payload"]))


def _size(audio: str | bytes) -> int:
    """Return the number of audio bytes, without decoding base64."""
    if isinstance(audio, str):
        return len(audio) * 3 // 4 - audio.count("=", -2)
    return len(audio)
