"""``otel-realtime redact``: silences a stretch of a kept or undelivered recording."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from otel_realtime import console
from otel_realtime.core.audio.formats import NS_PER_MS, NS_PER_S
from otel_realtime.core.audio.redactions import BEEP, BY_COMMAND, SILENCE, Stretch
from otel_realtime.delivery.keep import is_remote
from otel_realtime.editing.files import silence
from otel_realtime.editing.find import find
from otel_realtime.editing.sidecar import note_silenced
from otel_realtime.editing.undelivered import silence_undelivered
from otel_realtime.errors import ConfigError, RecordingError
from otel_realtime.settings import Settings
from otel_realtime.state.progress import KEPT, Progress

#: ``12``, ``12.5``, ``1:02.5``, ``1:00:02.5``.
_POSITION: Final = re.compile(
    r"(?:(?:(?P<hours>\d{1,4}):)?(?P<minutes>\d{1,2}):)?(?P<seconds>\d+(?:\.\d*)?|\.\d+)", re.ASCII
)
_LATEST_S: Final = 10**7  # 115 days: longer than any conversation in the state directory


def run(
    *,
    recording: str,
    start: str,
    end: str,
    side: str | None,
    beep: bool,
    out: Path | None,
    recordings_dir: str | None,
    state_dir: Path | None,
    as_json: bool = False,
) -> int:
    """Silence a stretch of a recording, and print the result.

    Args:
        recording: a file, or a conversation by one of its ids; see ``find``.
        start: where the stretch begins: seconds, or ``[h:]mm:ss``.
        end: where it ends.
        side: ``user`` or ``agent``; None: both.
        beep: whether to write a beep instead of silence.
        out: where to write the result; None: in place.
        recordings_dir: where recordings are kept; None: ``Settings.recordings_dir``.
        state_dir: the state directory; None: ``Settings.state_dir``.
        as_json: print the result as JSON.

    Returns:
        The exit code: 0 if every copy was silenced, otherwise 1.

    Raises:
        ConfigError: an argument is invalid, a folder is missing, or the name matches no recording or
            several.
    """
    start_ns, end_ns = position(start, "--from"), position(end, "--to")
    if start_ns >= end_ns:
        raise ConfigError(f"--from {start} is not before --to {end}")
    stretch = Stretch(start_ns, end_ns, side, BEEP if beep else SILENCE, BY_COMMAND)
    if out is not None and str(out) == "-":
        raise ConfigError("--output - : a recording is written to a file, name one")
    if not recording.strip():
        raise ConfigError("the name of the recording is empty")
    settings = Settings()
    for option, given in (("--recordings-dir", recordings_dir), ("--state-dir", state_dir)):
        if given is not None and not is_remote(str(given)) and not os.path.isdir(given):
            raise ConfigError(f"{option} {given}: there is no such folder")
    found = find(
        recording, recordings_dir or settings.recordings_dir, state_dir or settings.state_dir
    )
    if out is not None and len(found.files) != 1:
        raise ConfigError(
            "--output needs a file to read from; an undelivered one is silenced there"
        )
    work: list[tuple[Path, Callable[[], Stretch]]] = [
        (file, partial(silence, file, stretch, out)) for file in found.files
    ]
    if out is None:
        work += [(path, partial(silence_undelivered, path, stretch)) for path, _ in found.folders]
    silenced: list[dict[str, Any]] = []
    problems: list[str] = []
    for path, act in work:
        try:
            done = act()
        except RecordingError as error:
            problems.append(str(error))
        else:
            silenced.append(_as_json(out or path, done))
            if not as_json:
                console.say(f"{out or path}: silenced {_shown(done)}")
            if out is None and path in found.files:
                try:
                    note_silenced(path, done)
                except RecordingError as error:
                    problems.append(str(error))
    for path, header in found.folders:
        if header.recordings_dir and not found.files and Progress(path).done(KEPT):
            problems.append(f"a copy was kept in {header.recordings_dir}: name it, too")
    if as_json:
        console.say_json({"silenced": silenced, "problems": problems})
    for problem in problems:
        console.complain(problem)
    return 1 if problems else 0


def position(text: str, option: str) -> int:
    """Return a position in a recording, in ns.

    Args:
        text: seconds, or ``[h:]mm:ss``, either with decimals.
        option: the name of the option, for the error message.

    Raises:
        ConfigError: it is not a position.
    """
    match = _POSITION.fullmatch(text.strip())
    if match is not None:
        seconds = float(match["seconds"])
        if match["minutes"] is None or seconds < 60:
            seconds += int(match["minutes"] or 0) * 60 + int(match["hours"] or 0) * 3_600
            if seconds <= _LATEST_S:
                return round(seconds * NS_PER_S)
    raise ConfigError(
        f"{option} {text!r} is no position: give seconds, or mm:ss, as 62.5 or 1:02.5"
    )


def _as_json(path: Path, done: Stretch) -> dict[str, Any]:
    return {
        "path": str(path),
        "start_ms": round(done.start_ns / NS_PER_MS),
        "end_ms": round(done.end_ns / NS_PER_MS),
        "side": done.side,
    }


def _shown(stretch: Stretch) -> str:
    whose = "both sides" if stretch.side is None else f"the {stretch.side}'s side"
    return f"{_clock(stretch.start_ns)} to {_clock(stretch.end_ns)} of {whose}"


def _clock(ns: int) -> str:
    minutes, ms = divmod(round(ns / 1e6), 60_000)
    return f"{minutes}:{ms / 1000:06.3f}"
