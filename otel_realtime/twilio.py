"""Twilio media streams: what a caller on the phone has really heard, and said.

Twilio buffers what it is sent and plays it in real time. After each piece of audio an app may send a
``mark``; it comes back when the playback has reached it, **or when a ``clear`` empties the buffer**.
:class:`MediaStream` keeps the two apart::

    stream = MediaStream(call)
    ...
    await twilio.send_json(media_message(delta))
    await twilio.send_json(mark_message(stream.mark(event.item_id, event.content_index, delta)))
    ...
    stream.clear()  # with every clear message
    ...
    stream.received(message)  # every message of Twilio's

The Realtime session has to use ``audio/pcmu`` both ways: 8 bytes are a millisecond.
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

__all__ = ["MediaStream", "Playing"]

BYTES_PER_MS: Final = 8
#: Marks that may be under way; Twilio's buffer holds far less.
MOST_MARKS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Playing:
    """How far the playback is known to have got in an item: what a truncate may claim."""

    item_id: str
    content_index: int
    audio_ms: int


class MediaStream:
    """Follows one stream by its marks, and reports what was played to the conversation.

    Args:
        call: the conversation; None: only the bookkeeping.
        record_user: take the caller's audio from Twilio instead of what the app appends.
    """

    def __init__(self, call: Conversation | None = None, *, record_user: bool = False) -> None:
        self._call = call
        self._record_user = record_user
        self._count = 0
        self._sent_ms: dict[tuple[str, int], float] = {}
        self._marks: OrderedDict[str, tuple[str, int, float]] = OrderedDict()
        self._cleared: set[str] = set()
        self._playing: Playing | None = None

    def mark(self, item_id: str, content_index: int, audio: str | bytes) -> str:
        """Count audio that is sent to Twilio, and name the mark to send after it.

        Args:
            item_id: the item it belongs to.
            content_index: its content part.
            audio: mu-law bytes, or the same in base64 as in ``delta`` and ``payload``.
        """
        part = (item_id, content_index)
        end_ms = self._sent_ms.get(part, 0.0) + _size(audio) / BYTES_PER_MS
        self._sent_ms[part] = end_ms
        self._count += 1
        name = f"otel-realtime-{self._count}"
        self._marks[name] = (item_id, content_index, end_ms)
        while len(self._marks) > MOST_MARKS:
            self._cleared.discard(self._marks.popitem(last=False)[0])
        return name

    def clear(self) -> Playing | None:
        """Call it with every ``clear``: marks still under way will come back unplayed.

        Returns:
            How far the playback is known to have got, for the truncate; items behind it were not
            played at all. None if nothing that was sent is unplayed.
        """
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
        """Take in any message from Twilio; those that say nothing of sound are passed over."""
        try:
            event = message if isinstance(message, Mapping) else json.loads(message)
            kind = event.get("event")
            if kind == "mark":
                self._played(event["mark"]["name"])
            elif kind == "media" and self._record_user:
                self._heard(event["media"])
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            diagnostics.fault("twilio", error)

    def _played(self, name: str) -> None:
        position = self._marks.pop(name, None)
        if position is None:
            return
        if name in self._cleared:
            self._cleared.discard(name)
            return
        item_id, content_index, end_ms = position
        self._playing = Playing(item_id, content_index, int(end_ms))
        if self._call is not None:
            self._call.played(item_id, content_index, end_ms)

    def _heard(self, media: Mapping[str, Any]) -> None:
        if self._call is not None and media.get("track", "inbound") == "inbound":
            record_user_mulaw(self._call, base64.b64decode(media["payload"]))


def _size(audio: str | bytes) -> int:
    """Bytes of sound; base64 is only measured."""
    if isinstance(audio, str):
        return len(audio) * 3 // 4 - audio.count("=", -2)
    return len(audio)
