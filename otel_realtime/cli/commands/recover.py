"""``otel-realtime recover``."""

from __future__ import annotations

from pathlib import Path

import click

from otel_realtime.cli import options
from otel_realtime.cli.help import Command


@click.command(
    "recover",
    cls=Command,
    short_help="Deliver conversations left by a crashed process.",
    epilog="""
  otel-realtime recover  where the environment says
  otel-realtime recover --state-dir /var/lib/voice --timeout 60 --json  a minute at most, for a script
""",
)
@options.state_dir
@click.option(
    "--timeout",
    type=options.seconds,
    default="300",
    show_default=True,
    metavar="SECONDS",
    help="Stop waiting after this time in total.",
)
@options.as_json
def command(*, state_dir: Path | None, timeout: float, as_json: bool) -> int:
    """End and deliver the conversations of crashed processes, including their recordings, and resend
    spans that LangSmith has not accepted yet.

    The destination comes from the environment: LANGSMITH_*, OTEL_EXPORTER_OTLP_*. Spans without a
    destination are left.

    Exits with 0 if nothing is left to deliver, with 1 if something is left, with 2 if the state
    directory cannot be read.
    """
    from otel_realtime.recovery.command import run

    return run(state_dir=state_dir, timeout_s=timeout, as_json=as_json)
