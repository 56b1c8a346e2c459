"""The conversation on the server: its items in order, their audio, and their token counts."""

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

# Audio of one token: https://platform.openai.com/docs/guides/realtime-costs
USER_MS_PER_TOKEN: Final = 100
AGENT_MS_PER_TOKEN: Final = 50
#: The prompt cache holds whole blocks of this many tokens.
CACHE_BLOCK: Final = 64


@dataclass(slots=True)
class Item:
    """One conversation item: its wire form without audio, and its audio as PCM16 at 24 kHz."""

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
    def is_agent_audio(self) -> bool:
        """Whether it is a message of the model with audio; only such items can be truncated."""
        if self.body.get("role") != "assistant":
            return False
        return bool(self.audio) or any(p["type"] == "output_audio" for p in self.body["content"])

    def to_wire(self) -> Json:
        """Return a copy of its wire form, without audio as in every event but ``.retrieved``."""
        return copy.deepcopy(self.body)

    def to_wire_with_audio(self, audio_config: Json) -> Json:
        """Return its form in ``conversation.item.retrieved``, which includes the audio.

        Args:
            audio_config: the session's ``audio`` object, for the formats.
        """
        body = self.to_wire()
        for part in body.get("content", ()):
            if part["type"] in ("input_audio", "output_audio"):
                audio_format = audio_config[part["type"].removesuffix("_audio")]["format"]
                part["audio"] = base64.b64encode(from_pcm(self.audio, audio_format)).decode("ascii")
        return body


@dataclass(frozen=True, slots=True)
class Tokens:
    """A number of text tokens and of audio tokens."""

    text: int = 0
    audio: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.text + other.text, self.audio + other.audio)

    def cached(self) -> Tokens:
        """Return how many of the tokens a prompt cache would hold."""
        # OpenAI's cache needs a prefix of 1024 tokens; this does not, so that short demos show hits too.
        return Tokens(self.text - self.text % CACHE_BLOCK, self.audio - self.audio % CACHE_BLOCK)


class ItemList:
    """The items of the conversation, in order."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._order: list[str] = []

    def __iter__(self) -> Iterator[Item]:
        return iter([self._items[item_id] for item_id in self._order])

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Insert an item.

        Args:
            item: the item.
            after: the id of the item before it; ``root``: insert at the front; None: append.

        Returns:
            The id of the item before it, or None if it is the first.

        Raises:
            RequestError: there is no item ``after``, or the item's id exists.
        """
        if item.id in self._items:
            message = f"Error adding item: an item with id '{item.id}' already exists."
            raise RequestError("item_create_duplicate_item_id", message)
        if after is None:
            index = len(self._order)
        elif after == "root":
            index = 0
        else:
            self.get(after, "adding")
            index = self._order.index(after) + 1
        self._items[item.id] = item
        self._order.insert(index, item.id)
        return self._order[index - 1] if index else None

    def get(self, item_id: object, action: str) -> Item:
        """Return an item.

        Args:
            item_id: its id, as the client sent it.
            action: the client's action, a key of ``_ACTION_CODES``, for the error message.

        Raises:
            RequestError: there is no such item.
        """
        item = self._items.get(str(item_id))
        if item is None:
            message = f"Error {action} item: the item with id '{item_id}' does not exist."
            code = f"item_{_ACTION_CODES[action]}_invalid_item_id"
            raise RequestError(code, message, "item_id")
        return item

    def delete(self, item_id: object) -> None:
        """Remove an item.

        Raises:
            RequestError: there is no such item.
        """
        item = self.get(item_id, "deleting")
        del self._items[item.id]
        self._order.remove(item.id)

    def truncate(self, item_id: object, content_index: object, audio_end_ms: object) -> None:
        """Cut the audio of one of the model's messages and delete its transcript.

        https://platform.openai.com/docs/api-reference/realtime-client-events/conversation/item/truncate

        Raises:
            RequestError: there is no such item, it is not audio of the model, its audio is shorter, or
                ``audio_end_ms`` is invalid.
        """
        item = self.get(item_id, "truncating")
        if not item.is_agent_audio or content_index != 0:
            message = "Only model output audio messages can be truncated"
            raise RequestError("invalid_value", message, "item_id")
        if not isinstance(audio_end_ms, int) or audio_end_ms < 0:
            message = "Invalid value for 'audio_end_ms': expected an integer from 0 up."
            raise RequestError("invalid_value", message, "audio_end_ms")
        if audio_end_ms > item.audio_ms:
            message = f"Audio content of {item.audio_ms}ms is already shorter than {audio_end_ms}ms"
            raise RequestError("invalid_value", message, "audio_end_ms")
        del item.audio[audio_end_ms * BYTES_PER_MS :]
        # The server cannot tell which words were heard, so it deletes the whole transcript.
        for part in item.body["content"]:
            part.pop("transcript", None)

    def has_function_call(self, call_id: object) -> bool:
        """Return whether the conversation has a function call with that call id."""
        return any(
            item.body["type"] == "function_call" and item.body["call_id"] == call_id
            for item in self._items.values()
        )


#: Action in an error message -> its name in the error code.
_ACTION_CODES: Final = {
    "adding": "create",
    "retrieving": "retrieve",
    "deleting": "delete",
    "truncating": "truncate",
}


def text_tokens(text: str) -> int:
    """Return an estimate of the tokens of a text: four characters each."""
    return math.ceil(len(text) / 4)


def item_tokens(item: Item) -> Tokens:
    """Return the input tokens of an item."""
    body = item.body
    if item.audio:
        per_token = AGENT_MS_PER_TOKEN if body.get("role") == "assistant" else USER_MS_PER_TOKEN
        return Tokens(audio=math.ceil(item.audio_ms / per_token))
    parts = [part.get("text") or "" for part in body.get("content", ())]
    parts += [str(body.get(key, "")) for key in ("name", "arguments", "output")]
    return Tokens(text=text_tokens("".join(parts)))


def usage(*, input_tokens: Tokens, cached_tokens: Tokens, output_tokens: Tokens) -> Json:
    """Return ``response.usage`` with all details.

    ``cached_tokens`` are part of ``input_tokens``, as in the service.
    """
    input_total = input_tokens.text + input_tokens.audio
    output_total = output_tokens.text + output_tokens.audio
    return {
        "total_tokens": input_total + output_total,
        "input_tokens": input_total,
        "output_tokens": output_total,
        "input_token_details": {
            "text_tokens": input_tokens.text,
            "audio_tokens": input_tokens.audio,
            "image_tokens": 0,
            "cached_tokens": cached_tokens.text + cached_tokens.audio,
            "cached_tokens_details": {
                "text_tokens": cached_tokens.text,
                "audio_tokens": cached_tokens.audio,
                "image_tokens": 0,
            },
        },
        "output_token_details": {
            "text_tokens": output_tokens.text,
            "audio_tokens": output_tokens.audio,
        },
    }


def transcription_usage(model: str, audio_ms: int, text: str) -> Json:
    """Return the usage of an input transcription.

    Whisper is billed by duration, other models by tokens:
    https://platform.openai.com/docs/api-reference/realtime-server-events/conversation/item/input_audio_transcription/completed
    """
    if "whisper" in model:
        return {"type": "duration", "seconds": math.ceil(audio_ms / 1000)}
    input_tokens, output_tokens = math.ceil(audio_ms / USER_MS_PER_TOKEN), text_tokens(text)
    return {
        "type": "tokens",
        "total_tokens": input_tokens + output_tokens,
        "input_tokens": input_tokens,
        "input_token_details": {"text_tokens": 0, "audio_tokens": input_tokens},
        "output_tokens": output_tokens,
    }
