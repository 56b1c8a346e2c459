"""Images among the content parts of an item, and segments and languages of a transcription."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypedDict

from otel_realtime.core.protocol.events import JsonMapping
from otel_realtime.core.protocol.json_values import object_or_empty, text_or_none

#: The text with which ``redaction.scrub`` replaces a data URI: ``[image/png: 1234 bytes]``.
_SCRUBBED: Final = re.compile(r"\[([\w.+-]+/[\w.+-]+): (\d+) bytes\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in a message; its bytes are never kept.

    Attributes:
        uri: Its URI; None if the message contained its bytes or a file id.
        file_id: Id of the uploaded file; None if it is not one.
        mime: Its MIME type; None if unknown.
        size: Size in bytes; None if unknown.
        detail: ``auto``, ``low`` or ``high``; None if not given.
    """

    uri: str | None = None
    file_id: str | None = None
    mime: str | None = None
    size: int | None = None
    detail: str | None = None

    @property
    def reference(self) -> str:
        """The text that is shown instead of the image."""
        if self.uri is not None or self.file_id is not None:
            return self.uri or self.file_id or ""
        size = "unknown size" if self.size is None else f"{self.size} bytes"
        return f"[{self.mime or 'image'}: {size}]"


class Segment(TypedDict, total=False):
    """A segment of a transcription; ``start`` and ``end`` are in seconds of the item's audio.

    https://platform.openai.com/docs/api-reference/realtime-server-events/conversation/item/input_audio_transcription/segment
    """

    text: str
    speaker: str
    start: float
    end: float


def read_image(part: JsonMapping) -> Image | None:
    """Read the image of a content part, after scrubbing; None if the part is not an image."""
    url = part.get("image_url")
    if isinstance(url, dict):  # Chat Completions nest the URL
        part, url = {**part, **url}, url.get("url")
    uri, file_id = text_or_none(url), text_or_none(part.get("file_id"))
    # A file of another kind has a ``file_id``, too.
    if uri is None and part.get("type") != "input_image":
        return None
    detail = text_or_none(part.get("detail"))
    scrubbed = _SCRUBBED.fullmatch(uri or "")
    if scrubbed is not None:
        return Image(mime=scrubbed[1], size=int(scrubbed[2]), detail=detail)
    return Image(uri=uri, file_id=None if uri else file_id, detail=detail)


def read_segment(event: JsonMapping) -> Segment | None:
    """Read a ``conversation.item.input_audio_transcription.segment``; None if it has no text."""
    text = text_or_none(event.get("text"))
    if text is None:
        return None
    segment: Segment = {"text": text}
    speaker = event.get("speaker")
    if isinstance(speaker, str) and speaker:
        segment["speaker"] = speaker
    for key in ("start", "end"):
        value = event.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53:
            segment[key] = float(value)
    return segment


def read_languages(event: JsonMapping) -> list[str]:
    """Read ``languages`` of a completed transcription: codes, or objects with a ``code``."""
    languages = event.get("languages")
    found: list[str] = []
    for language in languages if isinstance(languages, list) else ():
        code = language if isinstance(language, str) else object_or_empty(language).get("code")
        if isinstance(code, str) and code and code not in found:
            found.append(code)
    return found
