"""``otel-realtime export``: writes a call as files, or prints it as JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from otel_realtime import console
from otel_realtime.delivery.keep import is_remote
from otel_realtime.errors import ConfigError
from otel_realtime.exporting.files import PARTS, Exported, write
from otel_realtime.exporting.sandbox import from_sandbox
from otel_realtime.exporting.sources import Source, sources
from otel_realtime.settings import Settings


def run(
    *,
    what: str,
    out: Path | None,
    only: Sequence[str],
    url: str | None,
    key: str | None,
    recordings_dir: str | None,
    state_dir: Path | None,
    as_json: bool = False,
) -> int:
    """Export calls, and print what was written.

    Args:
        what: a call by one of its ids, a file, or a folder; see ``sources``.
        out: the folder to write to; None: with ``as_json`` no files are written, otherwise they go to
            a folder named after the call in the current folder.
        only: the parts to write, from ``PARTS``; empty: all.
        url: the sandbox that has the call; None: the call is on this machine.
        key: key to read the sandbox with; None: none.
        recordings_dir: where recordings are kept; None: ``Settings.recordings_dir``.
        state_dir: the state directory; None: ``Settings.state_dir``.
        as_json: print the call as JSON; an array if there are several.

    Returns:
        The exit code: 0 if everything was written, 1 if something is missing.

    Raises:
        ConfigError: nothing is found, the name matches several calls, or the output cannot be written.
        RecordingError: a call that is found cannot be read.
    """
    if out is not None and str(out) == "-":
        raise ConfigError("--out - is no folder: --json alone prints the call")
    # Undelivered calls are rebuilt as spans in memory, which a disabled SDK would prevent.
    os.environ.pop("OTEL_SDK_DISABLED", None)
    found = _find(what, url, key, recordings_dir, state_dir)
    done: list[Exported] = []
    if out is not None or not as_json:
        for source in found:
            base = Path(source.name) if out is None else out
            folder = base / source.name if out is not None and len(found) > 1 else base
            try:
                done.append(write(source, folder, only or PARTS))
            except OSError as error:
                why = error.strerror or error
                raise ConfigError(f"cannot write to {folder}: {why}; check --out") from error
    if as_json:
        calls: list[Any] = [source.call for source in found if source.call is not None]
        if calls:
            console.say_json(calls[0] if len(found) == 1 else calls)
    else:
        for one in done:
            _tell(one)
    problems = [f"{one.name}: {problem}" for one in done for problem in one.missing]
    if not done:
        problems += [
            f"{source.name}: nothing is known of the call: {source.unknown}"
            for source in found
            if source.call is None
        ]
    for problem in problems:
        console.complain(problem)
    return 1 if problems else 0


def _find(
    what: str, url: str | None, key: str | None, recordings_dir: str | None, state_dir: Path | None
) -> list[Source]:
    if not what.strip():
        raise ConfigError("the name of the call is empty")
    if url is not None:
        return [from_sandbox(what, url, key)]
    settings = Settings()
    for option, given in (("--recordings-dir", recordings_dir), ("--state-dir", state_dir)):
        if given is not None and not is_remote(str(given)) and not os.path.isdir(given):
            raise ConfigError(f"{option} {given}: there is no such folder")
    return sources(what, recordings_dir or settings.recordings_dir, state_dir or settings.state_dir)


def _tell(done: Exported) -> None:
    clips = f", {done.clips} clips" if done.clips else ""
    names = ", ".join(path.name for path in done.files) or "nothing"
    console.say(f"{done.folder}{os.sep}: {names}{clips}")
