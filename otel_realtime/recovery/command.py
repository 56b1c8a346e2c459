"""``otel-realtime recover``: the recovery that also runs at every start; it reports progress."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from otel_realtime import console
from otel_realtime.core.protocol.redaction import scrub
from otel_realtime.credentials import without_secrets
from otel_realtime.errors import ConfigError
from otel_realtime.recovery.sweep import Report, recover
from otel_realtime.recovery.watch import FOLDERS, Watch, describe
from otel_realtime.settings import Settings
from otel_realtime.state.owner import CAN_LOCK

_VARIABLE: Final = "OTEL_REALTIME_STATE_DIR"
_UNUSABLE: Final = (
    "cannot be read and written by this process (uid {uid}): run it as the user of the apps (runAsUser), on "
    "a volume that is not read-only"
)


def run(*, state_dir: Path | None, timeout_s: float, as_json: bool) -> int:
    """Deliver the data of dead processes, and report each step.

    Args:
        state_dir: the state directory; ``None``: ``Settings.state_dir``.
        timeout_s: longest wait in seconds, for everything together.
        as_json: the report goes to standard output as JSON, progress to standard error.

    Returns:
        The exit code: 0 if everything was delivered, 1 if something is left.

    Raises:
        ConfigError: the state directory cannot be read, or it was named and does not exist.
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
    elif report == Report():
        console.say(f"nothing to recover in {settings.state_dir}")
    else:
        console.say(
            f"{len(report.conversations) - report.left} conversations and {report.spans} spans "
            f"delivered, {report.left} and {report.spans_left} left"
            + (f"; {report.spans_lost} spans refused for good" if report.spans_lost else "")
            + (f"; {len(report.unreadable)} unreadable" if report.unreadable else "")
        )
    return 0 if report.complete else 1


def watch(*, state_dir: Path | None, interval_s: float, grace_s: float, as_json: bool) -> int:
    """Deliver the data that processes leave, as it appears, until SIGTERM.

    Args:
        state_dir: the state directory; ``None``: ``Settings.state_dir``.
        interval_s: time between two looks at the directory, in seconds.
        grace_s: time for delivering the remaining data after SIGTERM, in seconds.
        as_json: each row goes to standard output as a line of JSON.

    Returns:
        The exit code: 0 if all data that belongs to no live process was delivered, 1 if some is left.

    Raises:
        ConfigError: the state directory cannot be used, or the system has no record locks.
    """
    settings = Settings()
    if state_dir is not None:
        settings = replace(settings, state_dir=state_dir)
    if not CAN_LOCK:
        raise ConfigError("recovery needs POSIX record locks, which this system does not have")
    _check_own(settings.state_dir)

    def tell(kind: str, row: dict[str, Any]) -> None:
        if as_json:
            line = json.dumps(scrub({"kind": kind, **row}), ensure_ascii=True)
            console.tell(without_secrets(line))
        else:
            console.tell(without_secrets(describe(kind, row)))

    there = settings.state_dir.is_dir()
    console.tell(
        f"watching {settings.state_dir} every {interval_s:g} s"
        + ("" if there else ", which is not there yet"),
        error=as_json,
    )
    totals = Watch(settings, interval_s=interval_s, grace_s=grace_s, tell=tell).run()
    if as_json:
        tell("stopped", {"delivered": totals.delivered, "spans": totals.spans, "left": totals.left})
    else:
        console.tell(
            f"stopped: {totals.delivered} conversations and {totals.spans} spans delivered; "
            + (f"{totals.left} processes' data left" if totals.left else "nothing left")
        )
    return 1 if totals.left else 0


def _check_own(state_dir: Path) -> None:
    """Reject a state directory that this process cannot read and write, such as another user's.

    A directory that does not exist yet may appear: a sidecar starts before the app.
    """
    for path in (state_dir, *(state_dir / name for name in FOLDERS)):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise ConfigError(f"{path} {_UNUSABLE.format(uid=os.geteuid())}: {why}") from error
        if path == state_dir and not path.is_dir():
            raise ConfigError(f"the state directory {path} is not a folder")
        if path.is_dir() and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            what = _UNUSABLE.format(uid=os.geteuid())
            raise ConfigError(f"{path} belongs to uid {found.st_uid} and {what}")


def _check(state_dir: Path, *, named: bool) -> None:
    """Reject a state directory that cannot be read; if it was not named, it need not exist."""
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
