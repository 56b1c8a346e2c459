"""``otel-realtime doctor``."""

from __future__ import annotations

import click

from otel_realtime.cli import options
from otel_realtime.cli.help import Command


@click.command(
    "doctor",
    cls=Command,
    short_help="Say what would happen to a call that is started here.",
    epilog="""
  otel-realtime doctor  with this environment
  otel-realtime doctor --json --timeout 30  half a minute at most, for a script
  opentelemetry-instrument otel-realtime doctor  with the provider which that sets up
  otel-realtime doctor --live  a small trace to your LangSmith, read back
""",
)
@click.option(
    "--timeout",
    type=options.seconds,
    default="15",
    show_default=True,
    metavar="SECONDS",
    help="Time for all checks together.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Write a small trace to your LangSmith, read it back, and answer what its documentation "
    "leaves open. Asks before; deletes nothing.",
)
@click.option("--yes", is_flag=True, help="With --live: do not ask.")
@click.option(
    "--live-timeout",
    type=options.seconds,
    default="90",
    show_default=True,
    metavar="SECONDS",
    help="With --live: longest wait until the trace can be read.",
)
@click.option(
    "--attachment-mb",
    type=options.megabytes,
    default="0",
    metavar="MB",
    help="With --live: size of the recording that is attached (default: a second of sound).",
)
@options.as_json
def command(
    *,
    timeout: float,
    live: bool,
    yes: bool,
    live_timeout: float,
    attachment_mb: float,
    as_json: bool,
) -> int:
    """Look at everything that decides what becomes of a call: environment variables, who delivers
    what, LangSmith's key and project, OTLP endpoints, clocks, the state directory, versions, clients,
    sound. Changes nothing, except for --live.

    Exits with 0 if nothing would be lost, with 1 if something would be, with 2 for a usage or set-up
    error.
    """
    from otel_realtime.doctor.command import run

    return run(
        timeout_s=timeout,
        as_json=as_json,
        live=live,
        yes=yes,
        live_timeout_s=live_timeout,
        attachment_mb=attachment_mb,
    )
