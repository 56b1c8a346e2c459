"""``otel-realtime redact``."""

from __future__ import annotations

from pathlib import Path

import click

from otel_realtime.cli import options
from otel_realtime.cli.help import Command


@click.command(
    "redact",
    cls=Command,
    short_help="Silence a part of a recording.",
    epilog="""
  otel-realtime redact call.wav --from 1:02.5 --to 1:09 --side user  in place
  otel-realtime redact thread-7 --from 62.5 --to 69 --beep -o clean.wav  to a file of its own
""",
)
@click.argument("recording", metavar="CONVERSATION|FILE")
@click.option(
    "--from",
    "start",
    required=True,
    metavar="TIME",
    help="Where the stretch begins: seconds, or mm:ss, such as 62.5 or 1:02.5.",
)
@click.option("--to", "end", required=True, metavar="TIME", help="Where the stretch ends.")
@click.option(
    "--side",
    type=click.Choice(("user", "agent")),
    help="Silence this side only (default: both).",
)
@click.option("--beep", is_flag=True, help="Put a beep in its place.")
@click.option(
    "-o",
    "--output",
    type=options.folder,
    metavar="FILE",
    help="Write the result to this file (default: in place).",
)
@options.recordings_dir
@options.state_dir
@options.as_json
def command(
    *,
    recording: str,
    start: str,
    end: str,
    side: str | None,
    beep: bool,
    output: Path | None,
    recordings_dir: str | None,
    state_dir: Path | None,
    as_json: bool,
) -> int:
    """Silence a stretch of a recording without changing its length: a WAV, FLAC or Ogg Opus file, or
    a conversation that waits for its delivery.

    CONVERSATION is a thread id, trace id, run id or name. Exits with 0 if the stretch is silenced
    everywhere, with 1 if it is not.
    """
    from otel_realtime.editing.command import run

    return run(
        recording=recording,
        start=start,
        end=end,
        side=side,
        beep=beep,
        out=output,
        recordings_dir=recordings_dir,
        state_dir=state_dir,
        as_json=as_json,
    )
