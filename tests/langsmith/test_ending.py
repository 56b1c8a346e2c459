"""The end of a run: which file goes along, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from otel_realtime.attributes import Meta
from otel_realtime.delivery.model import Closing, Recording
from otel_realtime.langsmith.ending import End

LIMIT = 100


def file(tmp_path: Path, size: int) -> Path:
    """A recording of so many bytes."""
    path = tmp_path / f"{size}.wav"
    path.write_bytes(bytes(size))
    return path


def end(render: Callable[[], Recording | None] | None, status: str = "pending") -> End:
    """The prepared end of a conversation that knew this status when it closed."""
    found = End(Closing(end_ns=1, metadata={Meta.ATTACH_STATUS: status}), render, None, LIMIT)
    found.prepare()
    return found


def said(found: End) -> tuple[str, Path | None]:
    """What is said, and which file goes along."""
    return found.status, found.attached.path if found.attached is not None else None


def test_a_file_that_fits_goes_along(tmp_path: Path) -> None:
    """Up to the very last byte."""
    path = file(tmp_path, LIMIT)
    assert ("attached", path) == said(end(lambda: Recording(path=path)))


def test_a_file_that_is_too_large_is_made_smaller(tmp_path: Path) -> None:
    """As often as it takes; where nothing smaller can be made it is left out."""
    small, middle, large = (file(tmp_path, size) for size in (LIMIT, LIMIT + 1, LIMIT * 2))
    never = Recording(path=large, smaller=lambda: Recording(path=middle))
    fits = Recording(
        path=large,
        smaller=lambda: Recording(path=middle, smaller=lambda: Recording(path=small)),
    )
    assert ("attached", small) == said(end(lambda: fits))
    assert ("too_large", None) == said(end(lambda: never))
    none = Recording(path=large, smaller=lambda: Recording(status="no_encoder"))
    assert ("no_encoder", None) == said(end(lambda: none))


@pytest.mark.parametrize(
    ("known", "expected"), [("pending", "failed"), ("disabled", "disabled"), ("none", "none")]
)
def test_a_recording_that_is_none_says_why(known: str, expected: str) -> None:
    """The conversation knows it; one that was to come and did not come failed."""
    assert (expected, None) == said(end(lambda: None, known))


def test_a_recording_without_a_file_says_why_itself() -> None:
    """In its own word."""
    assert ("disabled", None) == said(end(lambda: Recording(status="disabled")))


def test_without_a_recording_to_be_made_nothing_is_attached() -> None:
    """Its word stays the first one."""
    assert ("none", None) == said(end(None))


def test_rendering_that_fails_costs_the_recording_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the smaller one is made, or a file is gone."""

    def fails() -> Recording:
        raise OSError("no room")

    large, gone = file(tmp_path, LIMIT + 1), tmp_path / "gone.wav"
    for render in (
        fails,
        lambda: Recording(path=large, smaller=fails),
        lambda: Recording(path=gone),
    ):
        assert ("failed", None) == said(end(render))
    assert 2 == caplog.text.count("a recording is not attached: rendering it failed")
    assert 1 == caplog.text.count("a recording is not attached: cannot read it")


def test_a_recording_is_rendered_once(tmp_path: Path) -> None:
    """However often its end is tried; what only rendering told is told with the rest."""
    path, rendered = file(tmp_path, 1), []

    def render() -> Recording:
        rendered.append(1)
        return Recording(path=path, metadata={"codec": "flac"})

    found = end(render)
    found.prepare()
    assert ([1], {Meta.ATTACH_STATUS: "pending", "codec": "flac"}) == (rendered, found.metadata)


def test_a_file_that_langsmith_finds_too_large(tmp_path: Path) -> None:
    """The next smaller one goes, at last none."""
    small = Recording(path=file(tmp_path, 10))
    found = end(lambda: Recording(path=file(tmp_path, 20), smaller=lambda: small))
    found.shrink()
    assert ("attached", small.path) == said(found)
    found.shrink()
    assert ("too_large", None) == said(found)
    found.shrink()
    assert ("too_large", None) == said(found)


def test_what_is_left_out_says_why(tmp_path: Path) -> None:
    """In the word that is given."""
    path = file(tmp_path, 1)
    found = end(lambda: Recording(path=path))
    found.detach("no_credentials")
    assert ("no_credentials", None) == said(found)
