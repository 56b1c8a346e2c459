"""The conversation on the server: its items in order, their audio, and what they cost in tokens."""

from __future__ import annotations

import base64
import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from otel_realtime.demo.g711 import from_pcm
from otel_realtime.demo.speech import BYTES_PER_MS
from otel_realtime.demo.wire import Json, RequestError

USER_MS_PER_TOKEN: Final = 100
AGENT_MS_PER_TOKEN: Final = 50
"""OpenAI's guide on realtime costs: 100 ms of user audio, 50 ms of assistant audio a token."""
CACHE_BLOCK: Final = 64


@dataclass(slots=True)
class Item:
    """One item: its wire form without audio bytes, and the audio beside it."""

    body: Json
    audio: bytearray = field(default_factory=bytearray)

    @property
    def id(self) -> str:
        """The item's id."""
        return str(self.body["id"])

    @property
    def audio_ms(self) -> int:
        """Length of its audio."""
        return len(self.audio) // BYTES_PER_MS

    @property
    def speaks(self) -> bool:
        """It is a message of the model with audio, the only kind that can be truncated."""
        if self.body.get("role") != "assistant":
            return False
        return bool(self.audio) or any(p["type"] == "output_audio" for p in self.body["content"])

    def wire(self) -> Json:
        """A copy of its form on the wire; without audio, as in every event but ``.retrieved``."""
        return copy.deepcopy(self.body)

    def with_audio(self, sound: Json) -> Json:
        """The form in ``conversation.item.retrieved``, which includes the audio.

        Args:
            sound: the session's ``audio``, which says the formats.
        """
        body = self.wire()
        for part in body.get("content", ()):
            if part["type"] in ("input_audio", "output_audio"):
                form = sound[part["type"].removesuffix("_audio")]["format"]
                part["audio"] = base64.b64encode(from_pcm(self.audio, form)).decode("ascii")
        return body


@dataclass(frozen=True, slots=True)
class Tokens:
    """Text and audio tokens."""

    text: int = 0
    audio: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.text + other.text, self.audio + other.audio)

    def cached(self) -> Tokens:
        """What of it a prompt cache would hold: whole blocks."""
        return Tokens(self.text - self.text % CACHE_BLOCK, self.audio - self.audio % CACHE_BLOCK)


class ItemList:
    """The items of the conversation, in order."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._order: list[str] = []

    def __iter__(self) -> Iterator[Item]:
        return iter([self._items[item_id] for item_id in self._order])

    @property
    def last_id(self) -> str | None:
        """Id of the newest item."""
        return self._order[-1] if self._order else None

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Insert an item after another (``root``: first; None: last); returns the id before it.

        Raises:
            RequestError: there is no such item, or the id is taken.
        """
        if item.id in self._items:
            message = f"Error adding item: an item with id '{item.id}' already exists."
            raise RequestError("item_create_duplicate_item_id", message)
        if after is None:
            place = len(self._order)
        elif after == "root":
            place = 0
        else:
            self.get(after, "adding")
            place = self._order.index(after) + 1
        self._items[item.id] = item
        self._order.insert(place, item.id)
        return self._order[place - 1] if place else None

    def before(self, item_id: str) -> str | None:
        """Id of the item before that one."""
        place = self._order.index(item_id)
        return self._order[place - 1] if place else None

    def get(self, item_id: object, doing: str) -> Item:
        """The item with that id.

        Raises:
            RequestError: there is none.
        """
        item = self._items.get(str(item_id))
        if item is None:
            message = f"Error {doing} item: the item with id '{item_id}' does not exist."
            raise RequestError(f"item_{_VERBS[doing]}_invalid_item_id", message, "item_id")
        return item

    def delete(self, item_id: object) -> None:
        """Remove an item.

        Raises:
            RequestError: there is none with that id.
        """
        item = self.get(item_id, "deleting")
        del self._items[item.id]
        self._order.remove(item.id)

    def truncate(self, item_id: object, content_index: object, audio_end_ms: object) -> None:
        """Cut the audio of one of the model's messages; its transcript goes.

        Raises:
            RequestError: no such item, none of the model's, or shorter than that already.
        """
        item = self.get(item_id, "truncating")
        if not item.speaks or content_index != 0:
            message = "Only model output audio messages can be truncated"
            raise RequestError("invalid_value", message, "item_id")
        if not isinstance(audio_end_ms, int) or audio_end_ms < 0:
            message = "Invalid value for 'audio_end_ms': expected an integer from 0 up."
            raise RequestError("invalid_value", message, "audio_end_ms")
        if audio_end_ms > item.audio_ms:
            message = f"Audio content of {item.audio_ms}ms is already shorter than {audio_end_ms}ms"
            raise RequestError("invalid_value", message, "audio_end_ms")
        del item.audio[audio_end_ms * BYTES_PER_MS :]
        for part in item.body["content"]:
            part.pop("transcript", None)

    def answers_call(self, call_id: object) -> bool:
        """A function call with that id is in the conversation."""
        return any(
            item.body["type"] == "function_call" and item.body["call_id"] == call_id
            for item in self._items.values()
        )


_VERBS: Final = {
    "adding": "create",
    "retrieving": "retrieve",
    "deleting": "delete",
    "truncating": "truncate",
}


def text_tokens(text: str) -> int:
    """A rough count: four characters a token."""
    return math.ceil(len(text) / 4)


def item_tokens(item: Item) -> Tokens:
    """What an item costs as input."""
    body = item.body
    if item.audio:
        per_token = AGENT_MS_PER_TOKEN if body.get("role") == "assistant" else USER_MS_PER_TOKEN
        return Tokens(audio=math.ceil(item.audio_ms / per_token))
    parts = [part.get("text") or "" for part in body.get("content", ())]
    parts += [str(body.get(key, "")) for key in ("name", "arguments", "output")]
    return Tokens(text=text_tokens("".join(parts)))


def usage(*, taken: Tokens, cached: Tokens, made: Tokens) -> Json:
    """``response.usage`` with the full split."""
    total_in, total_out = taken.text + taken.audio, made.text + made.audio
    return {
        "total_tokens": total_in + total_out,
        "input_tokens": total_in,
        "output_tokens": total_out,
        "input_token_details": {
            "text_tokens": taken.text,
            "audio_tokens": taken.audio,
            "image_tokens": 0,
            "cached_tokens": cached.text + cached.audio,
            "cached_tokens_details": {
                "text_tokens": cached.text,
                "audio_tokens": cached.audio,
                "image_tokens": 0,
            },
        },
        "output_token_details": {"text_tokens": made.text, "audio_tokens": made.audio},
    }


def transcription_usage(model: str, audio_ms: int, text: str) -> Json:
    """Usage of an input transcription: Whisper bills by duration, the others by tokens."""
    if "whisper" in model:
        return {"type": "duration", "seconds": math.ceil(audio_ms / 1000)}
    heard, written = math.ceil(audio_ms / USER_MS_PER_TOKEN), text_tokens(text)
    return {
        "type": "tokens",
        "total_tokens": heard + written,
        "input_tokens": heard,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
        "output_tokens": written,
    }
