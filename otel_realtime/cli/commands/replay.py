"""``otel-realtime replay``."""

from __future__ import annotations

from pathlib import Path

import click

from otel_realtime.cli import options
from otel_realtime.cli.help import Command


@click.command(
    "replay",
    cls=Command,
    short_help="Make traces and recordings of recorded event logs.",
    epilog="""
  otel-realtime replay call.jsonl  where the environment says
  otel-realtime replay logs/ --out recordings  all logs of a folder, recordings kept
  otel-realtime replay call.jsonl --speed 1 --start 2026-11-27T08:00:00Z  in real time, as of then
  app --log-events | otel-realtime replay - --json  from a pipe, for a script
""",
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--speed",
    type=float,
    metavar="TIMES",
    help="How many times faster than it was; 1 is real time (default: as fast as possible).",
)
@click.option("--thread-id", metavar="ID", help="LangSmith thread of all (default: one each).")
@click.option(
    "--start",
    metavar="TIME",
    help="When the first event was: ISO 8601, or seconds since 1970 (default: so that it ends now).",
)
@click.option(
    "-o",
    "--out",
    type=options.folder,
    metavar="DIR",
    help="Keep the recordings in this folder (default: OTEL_REALTIME_RECORDINGS_DIR).",
)
@click.option(
    "--timeout",
    type=options.seconds,
    default="600",
    show_default=True,
    metavar="SECONDS",
    help="Stop waiting for the delivery after this time.",
)
@options.as_json
def command(
    *,
    files: tuple[str, ...],
    speed: float | None,
    thread_id: str | None,
    start: str | None,
    out: Path | None,
    timeout: float,
    as_json: bool,
) -> int:
    """Make a trace and a recording of each recorded event log: FILE is a log, a folder of logs, or -
    for standard input.

    A log has one JSON object a line: {"dir": "recv" or "sent", "event": {...}, "t_ms": 1234}, or the
    event alone, whose type says who sent it. Without t_ms a modelled pace is used: audio takes as long
    as it is, and other events follow each other closely. Audio beside x.jsonl, if it was cut out of the log:
    x.user.wav and x.agent.wav (each side, from the first event on), or x.pcm (what was sent, 24 kHz).

    The destination comes from the environment: LANGSMITH_*, OTEL_EXPORTER_OTLP_*. Lines that are no
    events are named and left out. Exits with 0 if everything was replayed and delivered, with 1 if a
    part was not, with 2 if there was nothing to replay or nowhere to send it.
    """
    from otel_realtime.replaying.command import run

    return run(
        files=files,
        speed=speed,
        thread_id=thread_id,
        start=start,
        out=out,
        timeout_s=timeout,
        as_json=as_json,
    )
