"""``otel-realtime recover``: the same as at every start, with progress, and waiting for the end."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from otel_realtime import console
from otel_realtime.core.protocol.redaction import scrub
from otel_realtime.credentials import without_secrets
from otel_realtime.errors import ConfigError
from otel_realtime.recovery.sweep import recover
from otel_realtime.settings import Settings

_VARIABLE: Final = "OTEL_REALTIME_STATE_DIR"


def run(*, state_dir: Path | None, timeout_s: float, as_json: bool) -> int:
    """Deliver what dead processes left, telling of it.

    Args:
        state_dir: None: ``Settings.state_dir``.
        timeout_s: nothing is waited for longer than this in all.
        as_json: the report goes to standard output as JSON, progress to standard error.

    Returns:
        The exit code: 0 all was delivered, 1 something is left.

    Raises:
        ConfigError: the state directory cannot be read, or there is none where one was named.
    """
    settings = Settings()
    named = state_dir is not None or bool(os.environ.get(_VARIABLE))
    if state_dir is not None:
        settings = replace(settings, state_dir=state_dir)
    _check(settings.state_dir, named=named)
    report = recover(
        settings,
        timeout_s=timeout_s,
        say=lambda message: console.tell(without_secrets(message), error=as_json),
    )
    if as_json:
        console.say_json(scrub(report.as_json()))
    elif not (report.conversations or report.spans or report.spans_left or report.unreadable):
        console.say(f"nothing to recover in {settings.state_dir}")
    else:
        console.say(
            f"{len(report.conversations) - report.left} conversations and {report.spans} spans "
            f"delivered, {report.left} and {report.spans_left} left"
            + (f"; {len(report.unreadable)} unreadable" if report.unreadable else "")
        )
    return 0 if report.complete else 1


def _check(state_dir: Path, *, named: bool) -> None:
    """Refuse a state directory that cannot be read; one that nobody named need not be there."""
    try:
        os.listdir(state_dir)
    except FileNotFoundError as error:
        if named:
            raise ConfigError(
                f"there is no state directory {state_dir}: check --state-dir, or {_VARIABLE}"
            ) from error
    except NotADirectoryError as error:
        raise ConfigError(f"the state directory {state_dir} is not a folder") from error
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ConfigError(f"the state directory {state_dir} cannot be read: {why}") from error
