"""``otel-realtime report``."""

from __future__ import annotations

from pathlib import Path

import click

from otel_realtime.cli import options
from otel_realtime.cli.help import Command


@click.command(
    "report",
    cls=Command,
    short_help="Write a call as one HTML file to send.",
    epilog="""
  otel-realtime report thread-7 -o call.html  a call of OTEL_REALTIME_RECORDINGS_DIR
  otel-realtime report recordings/call.wav  the call of a file
""",
)
@click.argument("conversation", metavar="CONVERSATION|FILE")
@click.option(
    "-o",
    "--output",
    type=options.folder,
    metavar="FILE",
    help="Write to this file, - for standard output (default: named after the call).",
)
@options.recordings_dir
@options.links
@options.as_json
def command(
    *,
    conversation: str,
    output: Path | None,
    recordings_dir: str | None,
    links: tuple[str, ...],
    as_json: bool,
) -> int:
    """Write a call as one HTML file: waveform, transcript and the recording as Opus, to send to
    somebody or to attach to a ticket. It opens from a disk and loads nothing.

    CONVERSATION is a thread id, trace id, run id or name.
    """
    from otel_realtime.viewing.command import write_report

    return write_report(
        conversation,
        output=output,
        recordings_dir=recordings_dir,
        links=links,
        as_json=as_json,
    )
