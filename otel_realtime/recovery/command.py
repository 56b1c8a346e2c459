"""``otel-realtime recover``: the same as at every start, with progress, and waiting for the end."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from otel_realtime.core.protocol.redaction import scrub
from otel_realtime.credentials import without_secrets
from otel_realtime.recovery.sweep import recover
from otel_realtime.settings import Settings


def run(*, state_dir: Path | None, timeout_s: float, as_json: bool) -> int:
    """Deliver what dead processes left, telling of it.

    Args:
        state_dir: None: ``Settings.state_dir``.
        timeout_s: nothing is waited for longer than this in all.
        as_json: the report goes to standard output as JSON, progress to standard error.

    Returns:
        The exit code: 0 all was delivered, 1 something is left.
    """
    settings = Settings()
    if state_dir is not None:
        settings = replace(settings, state_dir=state_dir)
    progress = sys.stderr if as_json else sys.stdout
    report = recover(
        settings,
        timeout_s=timeout_s,
        say=lambda message: _say(without_secrets(message), progress),
    )
    if as_json:
        _say(json.dumps(scrub(report.as_json()), indent=2))
    elif not (report.conversations or report.spans or report.spans_left or report.unreadable):
        _say(f"nothing to recover in {settings.state_dir}")
    else:
        _say(
            f"{len(report.conversations) - report.left} conversations and {report.spans} spans "
            f"delivered, {report.left} and {report.spans_left} left"
            + (f"; {len(report.unreadable)} unreadable" if report.unreadable else "")
        )
    return 0 if report.complete else 1


def _say(text: str, file: TextIO | None = None) -> None:
    file = file or sys.stdout
    encoding = file.encoding or "utf-8"  # which may lack what a thread's id or a file's name has
    file.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    file.flush()
