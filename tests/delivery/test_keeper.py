"""Copies and calls of the app's function: one after the other, and nobody waits for one that hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_realtime.delivery import keeper as keeping
from otel_realtime.delivery.keeper import Keeper, Kept
from otel_realtime.errors import RecordingError
from otel_realtime.settings import Settings
from tests.support.waiting import wait_for

Ended = list[tuple[str, bool, bool]]


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeper]:
    monkeypatch.setattr(keeping, "COPY_PATIENCE_S", 0.2)
    monkeypatch.setattr(keeping, "CALL_PATIENCE_S", 0.2)
    monkeypatch.setattr(keeping, "KEEP_WAITS_S", (0.01, 0.01))
    made = Keeper()
    yield made
    assert made.stop(5)


def kept(
    tmp_path: Path,
    name: str,
    ended: Ended,
    describe: Callable[[], str] | None = None,
    **settings: Any,
) -> Kept:
    """A recording that is to be kept."""
    path = tmp_path / f"{name}.wav"
    path.write_bytes(b"RIFF")
    return Kept(
        path=path,
        settings=Settings(**settings),
        name=name,
        info={},
        ended=lambda *how: ended.append((name, *how)),
        describe=describe,
    )


def test_the_function_is_called_one_at_a_time(keeper: Keeper, tmp_path: Path) -> None:
    """It need not be safe to call from several threads at once."""
    ended: Ended = []
    now, most = [0], [0]

    def function(path: Path, info: dict[str, Any]) -> None:
        now[0] += 1
        most[0] = max(most[0], now[0])
        time.sleep(0.02)
        now[0] -= 1

    for number in range(5):
        keeper.submit(kept(tmp_path, str(number), ended, on_recording=function))
    assert keeper.flush(5)
    assert ([(str(n), True, True) for n in range(5)], 1) == (ended, most[0])


@pytest.mark.parametrize("where", ["function", "bucket"])
def test_one_that_hangs_holds_up_no_other(
    keeper: Keeper, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a copy nor a call; what hangs is done when it ends."""
    ended: Ended = []
    go_on = threading.Event()

    def hang(path: Path, *_: Any) -> str:
        if path.name == "hangs.wav":
            go_on.wait(10)
        return "kept"

    settings: dict[str, Any] = {"on_recording": hang}
    if where == "bucket":
        monkeypatch.setattr(keeping, "keep", hang)
        settings = {"recordings_dir": "s3://slow", "on_recording": lambda path, info: None}
    for name in ("hangs", "a", "b"):
        keeper.submit(kept(tmp_path, name, ended, **settings))
    wait_for(lambda: len(ended) == 2, "the others", timeout_s=5)
    assert [("a", True, True), ("b", True, True)] == ended
    assert not keeper.flush(0.05)
    go_on.set()
    assert keeper.flush(5)
    assert ("hangs", True, True) == ended[-1]


def test_a_bucket_is_tried_again(
    keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few times, while others are copied; the app is told where the copy is, or that there is none."""
    ended: Ended = []
    tries: dict[str, int] = {}
    told: list[object] = []

    def keep(path: Path, directory: str, name: str) -> str:
        tries[name] = tries.get(name, 0) + 1
        if name == "never" or (name == "late" and tries[name] < 3):
            raise RecordingError("away")
        return f"{directory}/{name}"

    monkeypatch.setattr(keeping, "keep", keep)
    function: Callable[..., None] = lambda path, info: told.append(info["kept_as"])  # noqa: E731
    for name in ("never", "late", "soon"):
        job = kept(tmp_path, name, ended, recordings_dir="s3://b", on_recording=function)
        keeper.submit(job)
    assert keeper.flush(5)
    assert {"never": 3, "late": 3, "soon": 1} == tries
    assert {"s3://b/soon", "s3://b/late", None} == set(told)
    assert {("soon", True, True), ("late", True, True), ("never", False, True)} == set(ended)
    assert keeper.failed.is_set()


def test_the_json_of_a_call_lies_beside_its_copy(keeper: Keeper, tmp_path: Path) -> None:
    """Before the app is told of the copy."""
    ended: Ended = []
    there: list[bool] = []
    target = tmp_path / "kept"

    def look(path: Path, info: dict[str, Any]) -> None:
        there.append((target / "a.json").is_file())

    job = kept(tmp_path, "a", ended, lambda: "{}", recordings_dir=str(target), on_recording=look)
    keeper.submit(job)
    assert keeper.flush(5)
    assert ("{}", [True]) == ((target / "a.json").read_text(), there)


def test_json_that_cannot_be_made_costs_itself(
    keeper: Keeper, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The recording is kept, and one line says what is missing."""
    ended: Ended = []

    def fail() -> str:
        raise ValueError("no journal")

    keeper.submit(kept(tmp_path, "a", ended, fail, recordings_dir=str(tmp_path / "kept")))
    assert keeper.flush(5)
    assert [("a", True, True)] == ended
    assert ["a.wav"] == [path.name for path in (tmp_path / "kept").iterdir()]
    assert ["recording a is kept without its JSON: no journal"] == caplog.messages
