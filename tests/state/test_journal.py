"""The folder of one conversation."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from otel_realtime.errors import RecordingError
from otel_realtime.state.journal import JOURNAL, Folder, line, read


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Lines in order, audio byte for byte, a file only for a side that has audio."""
    folder = Folder(tmp_path / "state" / "call")
    folder.write({"user": [b"ab", b"cd"], "agent": []}, [line(["user", 5, 0, 4])])
    folder.write({"user": [b"e"], "agent": []}, [line(["user", 6, 4, 1]), line(["close", 7, True])])
    folder.close()
    path = tmp_path / "state" / "call"
    assert list(read(path)) == [["user", 5, 0, 4], ["user", 6, 4, 1], ["close", 7, True]]
    assert (path / "user.raw").read_bytes() == b"abcde"
    assert sorted(os.listdir(path)) == [JOURNAL, "user.raw"]


def test_only_the_user_may_read_it(tmp_path: Path) -> None:
    """Folders 0700, files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        folder = Folder(tmp_path / "conversations" / "call")
        folder.write({"user": [b"ab"], "agent": [b"cd"]}, [])
        folder.close()
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
        for path in tmp_path.rglob("*")
    }
    assert modes == {
        "conversations": 0o700,
        "conversations/call": 0o700,
        "conversations/call/journal.jsonl": 0o600,
        "conversations/call/user.raw": 0o600,
        "conversations/call/agent.raw": 0o600,
    }


def test_any_value_can_be_journaled() -> None:
    """Lone surrogates, huge and non-finite numbers, objects: never a failed line."""
    record = ["note", 1, {"text": "\ud800", "big": 10**400, "nan": float("nan"), "path": Path("x")}]
    again = json.loads(line(record))
    assert again[2]["text"] == "\ud800"
    assert again[2]["big"] == 10**400
    assert again[2]["path"] == "x"


def test_lines_that_are_no_records_are_left_out(tmp_path: Path) -> None:
    """A torn line, foreign text, other JSON; also across the reader's blocks."""
    good = [["user", number, "x" * 100] for number in range(2_000)]
    lines = [json.dumps(record) for record in good]
    lines[1_500:1_500] = ['["torn', "{}", "[]", '["kind"]', '["kind","t"]', "[5,5]", "", "null"]
    (tmp_path / JOURNAL).write_text("\n".join(lines) + '\n["user",9')
    assert list(read(tmp_path)) == good


def test_a_missing_journal_is_an_error(tmp_path: Path) -> None:
    """The message says which folder."""
    with pytest.raises(RecordingError, match="call_7"):
        list(read(tmp_path / "call_7"))
