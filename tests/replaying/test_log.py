"""A line of a log is an event with its direction and time, or is named with what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otel_realtime.replaying.log import BadRow, Row, rows
from tests.replaying.build import write

EVENT = {"type": "session.created", "session": {}}


def one(tmp_path: Path, row: Any) -> Row | BadRow:
    """What a log of one row holds."""
    (found,) = rows(write(tmp_path / "a.jsonl", [row]))
    return found


@pytest.mark.parametrize(
    ("direction", "sent"),
    [
        ("recv", False),
        ("received", False),
        ("in", False),
        ("server", False),
        ("sent", True),
        ("send", True),
        ("OUT", True),
        ("client", True),
    ],
)
def test_a_row_says_who_sent_it(tmp_path: Path, direction: str, sent: bool) -> None:
    """By several names."""
    found = one(tmp_path, {"dir": direction, "event": EVENT, "t_ms": 1.5})
    assert Row(1, sent, "session.created", EVENT, 1.5) == found


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("session.update", True),
        ("session.updated", False),
        ("conversation.item.create", True),
        ("conversation.item.created", False),
        ("output_audio_buffer.clear", True),
        ("output_audio_buffer.cleared", False),
        ("response.create", True),
        ("response.a_new_one", False),
        ("error", False),
        ("session.start", True),
        ("session.input_audio_buffer.append", True),
        ("session.started", False),
        ("transport.ringing", False),
    ],
)
def test_a_plain_event_says_it_by_its_type(tmp_path: Path, kind: str, sent: bool) -> None:
    """With or without a time beside it."""
    assert Row(1, sent, kind, {"type": kind}, None) == one(tmp_path, {"type": kind})
    assert Row(1, sent, kind, {"type": kind}, 7) == one(tmp_path, {"type": kind, "t_ms": 7})


def test_an_event_may_be_its_text(tmp_path: Path) -> None:
    """As it went over the wire."""
    found = one(tmp_path, {"dir": "recv", "event": json.dumps(EVENT)})
    assert Row(1, False, "session.created", EVENT, None) == found


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ('{"dir": "recv", "event": {"type": "se', "not JSON: Unterminated string starting at"),
        ("[" * 100_000, "not JSON: RecursionError"),
        ([1], "not an object but an array"),
        (None, "not an object but null"),
        ({"dir": "recv"}, "its event has no type"),
        ({"dir": "recv", "event": 7}, "its event is not an object but a number"),
        ({"dir": "recv", "event": "{"}, "its event is not JSON: "),
        ({"dir": "recv", "event": {"type": 7}}, "its event has no type"),
        ({"dir": "up", "event": EVENT}, "dir is 'up': recv or sent is wanted"),
        ({"dir": 1, "event": EVENT}, "dir is 1: recv or sent is wanted"),
        ({"dir": "recv", "event": EVENT, "t_ms": "1"}, "t_ms is '1': milliseconds since the first"),
        ({"dir": "recv", "event": EVENT, "t_ms": -1}, "t_ms is -1: "),
        ('{"dir": "recv", "event": {"type": "x"}, "t_ms": NaN}', "t_ms is nan: "),
        ({"type": "ping"}, "the type 'ping' does not say who sent it: add dir, recv or sent"),
    ],
)
def test_what_is_wrong_with_a_line(tmp_path: Path, row: Any, why: str) -> None:
    """In words."""
    found = one(tmp_path, row)
    assert isinstance(found, BadRow)
    assert found.why.startswith(why)


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    """Blank ones too, which are no rows; bytes of any kind are read."""
    path = tmp_path / "a.jsonl"
    event = json.dumps(EVENT).encode()
    path.write_bytes(b"\xef\xbb\xbf" + event + b"\r\n\n  \n\xff\xfe\n" + event)
    assert [(1, Row), (4, BadRow), (5, Row)] == [(row.line, type(row)) for row in rows(path)]
