"""``otel-realtime sandbox``."""

from __future__ import annotations

from pathlib import Path

import click

from otel_realtime.cli import options
from otel_realtime.cli.help import Command


@click.command(
    "sandbox",
    cls=Command,
    short_help="Run a local stand-in for LangSmith.",
    epilog="""
  otel-realtime sandbox  on port 8321, then the page in a browser
  otel-realtime sandbox --port 0 --no-browser  on any free port, for a test
  otel-realtime sandbox --host 0.0.0.0 --key s3cr  for a team: a key sends and reads
""",
)
@options.host
@click.option(
    "--port",
    type=options.port,
    default="8321",
    show_default=True,
    metavar="PORT",
    help="Port to listen on, 0 for any free one.",
)
@click.option(
    "--data-dir",
    type=options.folder,
    metavar="DIR",
    help="Where to store the data (default: sandbox in the state directory).",
)
@options.no_browser
@click.option(
    "--key",
    "keys",
    type=options.something,
    multiple=True,
    metavar="KEY",
    help="Key to send and to read with; may be repeated (default: any key sends, and reading takes "
    "none).",
)
@options.names
@options.links
@options.as_json
def command(
    *,
    host: str,
    port: int,
    data_dir: Path | None,
    no_browser: bool,
    keys: tuple[str, ...],
    names: tuple[str, ...],
    links: tuple[str, ...],
    as_json: bool,
) -> int:
    """Run a local server that accepts traces as LangSmith does, stores and shows them, and reports
    whatever LangSmith would drop or ignore.

    Runs until Ctrl-C. With --json the first line says where it listens.
    """
    from otel_realtime.sandbox.command import run

    return run(
        host=host,
        port=port,
        data_dir=data_dir,
        open_browser=not (no_browser or as_json),
        keys=keys,
        names=names,
        links=links,
        as_json=as_json,
    )
