"""``otel-realtime view``."""

from __future__ import annotations

import click

from otel_realtime.cli import options
from otel_realtime.cli.help import Command


@click.command(
    "view",
    cls=Command,
    short_help="See and hear kept recordings in a browser.",
    epilog="""
  otel-realtime view recordings/  all calls of a folder
  otel-realtime view s3://bucket/calls  of a bucket
  otel-realtime view thread-7  one call of OTEL_REALTIME_RECORDINGS_DIR
  otel-realtime view --link 'Jaeger=http://localhost:16686/trace/{trace_id}'  with the way to its trace
""",
)
@click.argument("what", metavar="[DIR|URL|CONVERSATION]", required=False)
@options.recordings_dir
@options.host
@click.option(
    "--port",
    type=options.port,
    default="0",
    metavar="PORT",
    help="Port to listen on (default: any free one).",
)
@options.no_browser
@click.option(
    "--key",
    "keys",
    type=options.something,
    multiple=True,
    metavar="KEY",
    help="Key to read with; may be repeated.",
)
@options.names
@options.links
@options.as_json
def command(
    *,
    what: str | None,
    recordings_dir: str | None,
    host: str,
    port: int,
    no_browser: bool,
    keys: tuple[str, ...],
    names: tuple[str, ...],
    links: tuple[str, ...],
    as_json: bool,
) -> int:
    """See and hear kept recordings: waveform, transcript, latency, tools.

    Without an argument: all recordings that are kept. CONVERSATION is a file, thread id, trace id, run
    id or name. Runs until Ctrl-C. With --json the first line says where it listens.
    """
    from otel_realtime.viewing.command import view

    return view(
        what,
        recordings_dir=recordings_dir,
        host=host,
        port=port,
        open_browser=not (no_browser or as_json),
        keys=keys,
        names=names,
        links=links,
        as_json=as_json,
    )
