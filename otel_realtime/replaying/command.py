"""``otel-realtime replay``: turns recorded event logs into traces and recordings."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import otel_realtime
from otel_realtime import console, diagnostics
from otel_realtime.conversation.arguments import FIRST_CALL_NS, LAST_CALL_NS
from otel_realtime.core.audio.formats import NS_PER_MS, NS_PER_S
from otel_realtime.delivery.keep import check_folder
from otel_realtime.errors import ConfigError
from otel_realtime.replaying.exports import refusals
from otel_realtime.replaying.feed import Feed, batching
from otel_realtime.replaying.log import LOGS, rows
from otel_realtime.replaying.pace import survey
from otel_realtime.replaying.result import Replayed
from otel_realtime.replaying.sounds import beside
from otel_realtime.settings import Settings
from otel_realtime.setup.destinations import NOWHERE, destinations

#: The file argument that means standard input.
STDIN: Final = "-"
#: Lowest speed; a replay that takes years would be a typing error.
SLOWEST: Final = 0.001


def run(
    *,
    files: Sequence[str],
    speed: float | None,
    thread_id: str | None,
    start: str | None,
    out: Path | None,
    timeout_s: float = 600.0,
    as_json: bool = False,
) -> int:
    """Replay logs, and print the result.

    Args:
        files: logs, folders of logs, or ``-`` for standard input.
        speed: speed relative to real time, which is 1; None: as fast as possible.
        thread_id: LangSmith thread of all logs; None: one thread per log.
        start: time of the first event: ISO 8601 or epoch seconds; None: so that the call ends now.
        out: folder in which recordings are kept; None: ``Settings.recordings_dir``.
        timeout_s: longest wait until everything is delivered.
        as_json: print the result as JSON.

    Returns:
        The exit code: 0 if everything was replayed and delivered, 1 if a part was not, 2 if there was
        nothing to replay.

    Raises:
        ConfigError: an argument is invalid, a file is missing, or no destination is configured.
    """
    if speed is not None and not SLOWEST <= speed < float("inf"):
        raise ConfigError(f"--speed {speed}: a number from {SLOWEST} on is wanted; 1 is real time")
    start_ns = None if start is None else _time(start)
    settings = Settings() if out is None else replace(Settings(), recordings_dir=str(out))
    with ExitStack() as stack:
        refused = stack.enter_context(refusals())
        logs = [(name, path) for file in files for name, path in _logs(file, stack)]
        where = destinations(settings)
        if not where and settings.recordings_dir is None:
            raise ConfigError(f"{NOWHERE}; or keep the recordings: --out DIR")
        if settings.recordings_dir is not None:
            check_folder(settings.recordings_dir)
        provider = _provider(where)
        if not as_json:
            console.say(
                f"Replaying to {' and to '.join(where)}."
                if where
                else f"Replaying; nothing is sent, recordings are kept in {settings.recordings_dir}."
            )
        kept: dict[str, str] = {}
        if settings.recordings_dir is not None:
            settings = replace(settings, on_recording=lambda _, info: _note(kept, info))
        lost = sum(diagnostics.REGISTER.lost().values())
        calls: list[tuple[Replayed, Any]] = []
        for name, path in logs:
            made = _replay(name, path, provider, settings, speed, thread_id, start_ns)
            calls.append(made)
            for row in made[0].bad:
                console.complain(f"{name}:{row.line}: {row.why}; left out")
        if not as_json:
            console.say("Waiting until everything is delivered.")
        delivered = otel_realtime.flush(timeout_s)
        for processor in batching(provider):
            delivered = processor.force_flush(round(timeout_s * 1_000)) and delivered
    for message in refused.messages:
        console.complain(message)
    delivered = delivered and not refused.of_spans
    for result, call in calls:
        if call is not None:
            result.url, result.recording = call.langsmith_url, kept.get(call.langsmith_run_id)
    lost = sum(diagnostics.REGISTER.lost().values()) - lost
    return _tell([result for result, _ in calls], delivered, lost, as_json=as_json)


def _tell(results: list[Replayed], delivered: bool, lost: int, *, as_json: bool) -> int:
    """Print the result, and return the exit code."""
    usable = [result for result in results if result.ids]
    bad = sum(len(result.bad) for result in results)
    if as_json:
        told = [result.as_json() for result in results]
        console.say_json(
            {"conversations": told, "bad_rows": bad, "lost": lost, "delivered": delivered}
        )
    else:
        for result in results:
            for line in result.lines():
                console.say(line)
    if bad:
        console.complain(f"{bad} {'line' if bad == 1 else 'lines'} left out: no events of a log")
    if lost:
        console.complain(f"{lost} pieces of telemetry were lost; the log above says which")
    if not delivered:
        console.complain(
            "not everything was delivered; what LangSmith did not take is on disk, and `otel-realtime "
            "recover` tries again"
        )
    if not usable:
        console.complain("nothing to replay: no line of it is an event")
        return 2
    return 0 if delivered and not bad and not lost and len(usable) == len(results) else 1


def _replay(
    name: str,
    path: Path,
    provider: object,
    settings: Settings,
    speed: float | None,
    thread_id: str | None,
    start_ns: int | None,
) -> tuple[Replayed, Any]:
    """Replay one log; return the result and its conversation."""
    sounds = beside(path)
    found = survey(rows(path), user_ms=sounds.user_ms, agent_ms=sounds.agent_ms)
    result = Replayed(
        file=name,
        bad=found.bad,
        received=found.received,
        sent=found.sent,
        duration_ms=round(found.duration_ms),
        timed=found.timed,
        keeps=settings.recordings_dir is not None,
    )
    if not found.events:
        return result, None
    length_ms = max(found.duration_ms, *(one or 0.0 for one in (sounds.user_ms, sounds.agent_ms)))
    if start_ns is None:  # the call ends now, or when the replay has ended, if that is later
        told_ms = 0.0 if speed is None else length_ms / speed
        start_ns = time.time_ns() - round(max(length_ms - told_ms, 0.0) * NS_PER_MS)
    with (
        _progress(name, length_ms) as progress,
        otel_realtime.conversation(
            thread_id=thread_id,
            metadata={"replayed_from": Path(name).name},
            settings=settings,
            tracer_provider=provider,  # type: ignore[arg-type]
        ) as call,
    ):
        ids = {"thread_id": call.thread_id, "trace_id": call.trace_id}
        result.ids = {**ids, "run_id": call.langsmith_run_id}
        Feed(
            call=call,
            provider=provider,
            survey=found,
            sounds=sounds,
            start_ns=start_ns,
            speed=speed,
            progress=progress,
        ).tell(rows(path))
    return result, call


def _note(kept: dict[str, str], info: dict[str, Any]) -> None:
    if info.get("kept_as"):
        kept[str(info["langsmith_run_id"])] = str(info["kept_as"])


def _provider(where: list[str]) -> object:
    """Return the environment's tracer provider; without destinations, one that has no exporters."""
    if where:
        return otel_realtime.configure()
    from opentelemetry.sdk.trace import TracerProvider

    return TracerProvider()


def _logs(file: str, stack: ExitStack) -> Iterator[tuple[str, Path]]:
    """Yield the logs that an argument names, each with the name to print.

    Raises:
        ConfigError: the file cannot be read, or the folder has no logs.
    """
    if file == STDIN:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otel-realtime-")))
        path = folder / "stdin.jsonl"
        if sys.stdin is None:
            raise ConfigError("there is no standard input to read from")
        with path.open("wb") as copy:  # the log is read twice: first to find its length
            shutil.copyfileobj(sys.stdin.buffer, copy)
        yield "stdin", path
        return
    if not file.strip():  # an unset variable in a script would mean the current directory
        raise ConfigError("the name of a log is empty")
    path = Path(os.path.expanduser(file))
    if path.is_dir():
        found = sorted(
            one for one in path.iterdir() if one.suffix.lower() in LOGS and one.is_file()
        )
        if not found:
            raise ConfigError(f"{file}: no logs in this folder (*{', *'.join(LOGS)})")
        yield from ((str(one), one) for one in found)
        return
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror or error}") from error
    yield file, path


def _for_python_310(text: str) -> str:
    """Return an ISO 8601 time in a form that Python 3.10 parses: no ``Z``, six fractional digits."""
    text = re.sub(r"[zZ]$", "+00:00", text)
    return re.sub(r"\.(\d{1,6})\d*", lambda found: f".{found[1]:0<6}", text, count=1)


def _time(text: str) -> int:
    """Return a time, epoch ns.

    Raises:
        ConfigError: it is not a time, or a call cannot have been then.
    """
    with suppress(ValueError, OverflowError):
        return _of_a_call(round(float(text) * NS_PER_S))
    try:
        at = datetime.fromisoformat(_for_python_310(text.strip()))
        at = at if at.tzinfo is not None else at.replace(tzinfo=timezone.utc)
        return _of_a_call(round(at.timestamp() * NS_PER_S))
    except (ValueError, OverflowError):
        raise ConfigError(
            f"--start {text!r} is no time of a call: give 2026-11-27T08:00:00Z, or seconds since 1970"
        ) from None


def _of_a_call(at_ns: int) -> int:
    if not FIRST_CALL_NS <= at_ns <= LAST_CALL_NS:
        raise ValueError
    return at_ns


@contextmanager
def _progress(name: str, length_ms: float) -> Iterator[Callable[[float], None]]:
    """Show the progress of a log on a terminal; yield a function that takes the time reached, ms."""
    if not console.is_terminal(sys.stderr):
        yield lambda _: None
        return
    from rich.progress import Progress

    with Progress(console=console.terminal(sys.stderr), transient=True) as shown:
        task = shown.add_task(Path(name).name, total=max(length_ms, 1.0))
        yield lambda reached_ms: shown.update(task, completed=reached_ms)
