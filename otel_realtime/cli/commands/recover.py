"""``otel-realtime recover``."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from otel_realtime.cli import options
from otel_realtime.cli.help import Command


@click.command(
    "recover",
    cls=Command,
    short_help="Deliver conversations left by a crashed process.",
    epilog="""
  otel-realtime recover  where the environment says
  otel-realtime recover --state-dir /var/lib/voice --timeout 60 --json  a minute at most, for a script
  otel-realtime recover --watch --state-dir /var/lib/voice  beside apps that leave delivering to it
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
@click.option(
    "--watch",
    is_flag=True,
    help="Go on until SIGTERM: deliver also what living processes hand over "
    "(OTEL_REALTIME_DELIVER=worker).",
)
@click.option(
    "--interval",
    type=options.seconds,
    default="2",
    show_default=True,
    metavar="SECONDS",
    help="How often --watch looks at the directory.",
)
@click.option(
    "--grace",
    type=options.seconds,
    default="20",
    show_default=True,
    metavar="SECONDS",
    help="How long --watch may go on delivering what there is after SIGTERM.",
)
@options.as_json
@click.pass_context
def command(
    context: click.Context,
    *,
    state_dir: Path | None,
    timeout: float,
    watch: bool,
    interval: float,
    grace: float,
    as_json: bool,
) -> int:
    """End and deliver the conversations of crashed processes, including their recordings, and resend
    spans that LangSmith has not accepted yet.

    The destination comes from the environment: LANGSMITH_*, OTEL_EXPORTER_OTLP_*. Spans without a
    destination are left.

    With --watch it goes on, a line for each conversation, and what LangSmith does not take now is tried
    again until it does. After SIGTERM it delivers what there is, within the grace; a second one ends it at
    once. Several may watch one directory.

    Exits with 0 if nothing is left to deliver, with 1 if something is left, with 2 if the state
    directory cannot be read.
    """
    from otel_realtime.recovery import command as work

    of_other_mode = ("timeout",) if watch else ("interval", "grace")
    for name in of_other_mode:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            without = "without" if watch else "with"
            raise click.UsageError(f"--{name} goes {without} --watch")
    if watch:
        return work.watch(state_dir=state_dir, interval_s=interval, grace_s=grace, as_json=as_json)
    return work.run(state_dir=state_dir, timeout_s=timeout, as_json=as_json)
