"""Content parts that are more than text, read from whatever the wire says."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from otel_realtime.core.protocol.parts import Image, read_image, read_languages, read_segment
from otel_realtime.core.protocol.redaction import scrub

PNG = "data:image/png;base64," + base64.b64encode(bytes(300)).decode()


@pytest.mark.parametrize(
    ("part", "image"),
    [
        ({"image_url": PNG, "detail": "low"}, Image(mime="image/png", size=300, detail="low")),
        ({"image_url": {"url": PNG}}, Image(mime="image/png", size=300)),
        ({"image_url": "https://a.test/b.png"}, Image(uri="https://a.test/b.png")),
        ({"file_id": "file_1"}, Image(file_id="file_1")),
        ({}, Image()),
        ({"image_url": 7}, Image()),
    ],
)
def test_an_image(part: dict[str, Any], image: Image) -> None:
    """Its type and size, or where it is; never its bytes."""
    assert image == read_image(scrub({"type": "input_image", **part}))


def test_what_is_no_image() -> None:
    """Text is not, and neither is sound, nor a file of another kind."""
    assert None is read_image({"type": "input_text", "text": "a"})
    assert None is read_image({"type": "input_audio", "transcript": None})
    assert None is read_image({"type": "input_file", "file_id": "file_1"})
    assert Image(file_id="file_1") == read_image({"type": "input_image", "file_id": "file_1"})


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (Image(uri="https://a.test/b.png"), "https://a.test/b.png"),
        (Image(mime="image/png", size=300), "[image/png: 300 bytes]"),
        (Image(), "[image: unknown size]"),
    ],
)
def test_what_a_reader_sees_of_an_image(image: Image, shown: str) -> None:
    """Its address, or what is known of it."""
    assert shown == image.reference


@pytest.mark.parametrize(
    ("event", "segment"),
    [
        (
            {"text": "Hello.", "speaker": "A", "start": 0, "end": 1.5},
            {"text": "Hello.", "speaker": "A", "start": 0.0, "end": 1.5},
        ),
        ({"text": "Hello.", "speaker": 7, "start": "x", "end": -1}, {"text": "Hello."}),
        ({"text": ""}, None),
        ({}, None),
    ],
)
def test_a_segment(event: dict[str, Any], segment: Any) -> None:
    """What is malformed is left out; without a text there is no segment."""
    assert segment == read_segment(event)


@pytest.mark.parametrize(
    ("value", "languages"),
    [
        ([{"code": "en"}, {"code": "de"}, {"code": "en"}], ["en", "de"]),
        (["fr"], ["fr"]),
        ([{}, 7, None, ""], []),
        ("en", []),
        (None, []),
    ],
)
def test_languages(value: Any, languages: list[str]) -> None:
    """Each once, in the order of the server."""
    assert languages == read_languages({"languages": value})
