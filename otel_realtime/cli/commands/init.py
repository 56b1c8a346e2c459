"""``otel-realtime init``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from otel_realtime.cli import options
from otel_realtime.cli.help import Command

_WHAT: Final = ("collector",)


@click.command(
    "init",
    cls=Command,
    short_help="Write the Collector's configs, dashboards and rules.",
    epilog="""
  otel-realtime init collector .  docker-compose.yml and collector/ in this folder
  otel-realtime init collector telemetry --json  what was written, for a script
  otel-realtime init collector telemetry --force  your changes are replaced as well
""",
)
@click.argument("what", metavar="collector", type=click.Choice(_WHAT))
@click.argument("folder", metavar="DIR", type=options.folder)
@click.option("--force", is_flag=True, help="Replace files that were changed, too.")
@options.as_json
def command(*, what: str, folder: Path, force: bool, as_json: bool) -> int:
    """Write what a platform needs beside an app into DIR: docker-compose.yml, and in collector/ the
    OpenTelemetry Collector's configs, overlays and what belongs to them, with a README.

    A file that you changed is kept and named. One that is still as an earlier version wrote it is
    brought up to date, so the command can be repeated after an upgrade.

    Exits with 0 if DIR has every file as it ships, with 1 if changed ones were kept, with 2 if DIR
    cannot be written.
    """
    from otel_realtime.collector_files import run

    return run(folder, force=force, as_json=as_json)
