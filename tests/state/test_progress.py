"""Which steps of a delivery are done: remembered in the conversation's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_realtime.state.progress import KEPT, PROGRESS, ROOT, Progress


def test_a_step_is_done_once(tmp_path: Path) -> None:
    """By this process and by the next one."""
    done: list[str] = []
    for _ in range(2):
        progress = Progress(tmp_path)
        for step in (KEPT, ROOT, KEPT):
            progress.once(step, lambda step=step: done.append(step))  # type: ignore[misc]
    assert [KEPT, ROOT] == done


def test_a_step_that_failed_is_done_again(tmp_path: Path) -> None:
    """Only what came to its end is remembered."""

    def fails() -> None:
        raise OSError("not now")

    for _ in range(2):
        with pytest.raises(OSError, match="not now"):
            Progress(tmp_path).once(KEPT, fails)
    done: list[str] = []
    Progress(tmp_path).once(KEPT, lambda: done.append(KEPT))
    assert [KEPT] == done


def test_several_may_note(tmp_path: Path) -> None:
    """Of one folder, one after the other: none of it is forgotten."""
    for step in (KEPT, ROOT):
        Progress(tmp_path).note(step)
    for step in (KEPT, ROOT):
        Progress(tmp_path).once(step, lambda: pytest.fail("it was done"))


@pytest.mark.parametrize(
    "content", ["", "nonsense", "null", "5", "{}", "[[[1]]]", "[" * 100_000, "[1, null]"]
)
def test_what_cannot_be_read_was_not_done(tmp_path: Path, content: str) -> None:
    """It is done again, and noted anew."""
    (tmp_path / PROGRESS).write_text(content)
    done: list[str] = []
    Progress(tmp_path).once(KEPT, lambda: done.append(KEPT))
    assert [KEPT] == done
    Progress(tmp_path).once(KEPT, lambda: pytest.fail("it was done"))


def test_a_note_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    """The folder is gone: somebody delivered it."""
    progress = Progress(tmp_path / "gone")
    progress.note(ROOT)
    progress.once(ROOT, lambda: pytest.fail("it was done"))
