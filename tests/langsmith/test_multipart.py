"""Multipart bodies: every byte accounted for, the file read anew for each try."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.errors import RecordingError
from otel_realtime.langsmith.multipart import FilePart, MultipartBody, Part
from tests.support.langsmith_server import Request
from tests.support.streams import bounded


def sent(body: MultipartBody) -> bytes:
    """One pass over the body."""
    return b"".join(body.open())


def parts(body: MultipartBody) -> list[tuple[str, str, bytes]]:
    """Name, type and content of each part, read by somebody else's reader."""
    request = Request("POST", "/", {"content-type": body.content_type}, sent(body))
    return [(part.name, part.headers["Content-Type"], part.body) for part in request.parts()]


def file(tmp_path: Path, size: int) -> FilePart:
    """A recording of so many bytes."""
    path = tmp_path / "a.wav"
    path.write_bytes(os.urandom(size))
    return FilePart("attachment.1.conversation", path, "audio/wav")


contents = st.binary(max_size=200) | st.sampled_from([b"\r\n--", b"\r\n", b"", b"x" * 70_000])


@bounded
@given(st.lists(contents, max_size=4), st.none() | contents)
def test_what_goes_in_comes_out(jsons: list[bytes], recording: bytes | None) -> None:
    """In order, byte for byte, and as long as was promised."""
    given = [Part(f"post.{number}", data) for number, data in enumerate(jsons)]
    expected = [(part.name, "application/json", part.data) for part in given]
    with TemporaryDirectory() as folder:
        path, attached = Path(folder) / "a.wav", None
        if recording is not None:
            path.write_bytes(recording)
            attached = FilePart("attachment", path, "audio/wav")
            expected.append(("attachment", "audio/wav", recording))
        body = MultipartBody(given, attached)
        assert len(body) == len(sent(body)) == len(body.open())
        if expected:
            assert expected == parts(body)


def test_each_try_sends_all_of_it(tmp_path: Path) -> None:
    """A pass that broke off half-way leaves nothing behind."""
    body = MultipartBody([Part("post.1", b"{}")], file(tmp_path, 200_000))
    first = body.open()
    broken = first.read() + first.read()
    assert broken == sent(body)[: len(broken)]
    assert sent(body) == sent(body)
    assert len(body) == len(sent(body))


def test_it_is_read_in_blocks(tmp_path: Path) -> None:
    """Nobody asks for all at once; nothing is read for nothing, and the end is empty."""
    reader = MultipartBody([], file(tmp_path, 300_000)).open()
    assert b"" == reader.read(0)
    blocks = list(iter(reader.read, b""))
    assert 64 * 1024 == max(len(block) for block in blocks)
    assert b"" == reader.read()


def test_no_two_bodies_have_one_boundary() -> None:
    """What stands in one cannot end another."""
    assert 100 == len({MultipartBody([]).content_type for _ in range(100)})


def test_a_file_that_grows_is_sent_as_long_as_it_was(tmp_path: Path) -> None:
    """Its length was promised."""
    attached = file(tmp_path, 1_000)
    before = attached.path.read_bytes()
    body = MultipartBody([], attached)
    with attached.path.open("ab") as more:
        more.write(b"more")
    assert [("attachment.1.conversation", "audio/wav", before)] == parts(body)


def test_a_file_that_shrinks_breaks_the_pass(tmp_path: Path) -> None:
    """As an error that no HTTP client takes for a broken connection."""
    attached = file(tmp_path, 1_000)
    body = MultipartBody([], attached)
    attached.path.write_bytes(b"short")
    with pytest.raises(RecordingError, match=r"a\.wav became shorter"):
        sent(body)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    """Is told when the body is made, or when it is sent; never by an OSError."""
    attached = file(tmp_path, 1_000)
    body = MultipartBody([], attached)
    attached.path.unlink()
    with pytest.raises(RecordingError, match=r"a\.wav cannot be read"):
        sent(body)
    with pytest.raises(RecordingError, match=r"a\.wav cannot be read"):
        MultipartBody([], attached)
