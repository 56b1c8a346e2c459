"""``otel-realtime demo``."""

from __future__ import annotations

from pathlib import Path

import click

from otel_realtime.cli import options
from otel_realtime.cli.help import Command


@click.command(
    "demo",
    cls=Command,
    short_help="Run a scripted voice conversation and show its trace.",
    epilog="""
  otel-realtime demo  20 seconds, then the page in a browser
  otel-realtime demo --fast --no-browser  7 seconds, for a script or a CI
  otel-realtime demo --langsmith  to your own LangSmith
""",
)
@click.option("--fast", is_flag=True, help="Run a shorter conversation.")
@click.option(
    "--long",
    is_flag=True,
    help="Run a longer conversation: an idle timeout, an MCP approval, a classification.",
)
@options.no_browser
@click.option("--keep-running", is_flag=True, help="Keep serving the page until Ctrl-C.")
@click.option(
    "--langsmith",
    is_flag=True,
    help="Send to LangSmith with your LANGSMITH_API_KEY instead of to the sandbox.",
)
@click.option(
    "--data-dir",
    type=options.folder,
    metavar="DIR",
    help="Where to keep the recordings and the sandbox's data (default: .demo).",
)
@options.as_json
def command(
    *,
    fast: bool,
    long: bool,
    no_browser: bool,
    keep_running: bool,
    langsmith: bool,
    data_dir: Path | None,
    as_json: bool,
) -> int:
    """Run a voice conversation between the real openai client and a scripted Realtime server on this
    machine, and show its trace and recording in the sandbox. No API keys needed.

    Exits with 0 if the trace is complete, with 1 if it is not.
    """
    from otel_realtime.demo.run import run_demo

    return run_demo(
        fast=fast,
        long=long,
        browser=not (no_browser or as_json),
        keep_running=keep_running,
        langsmith=langsmith,
        data_dir=data_dir,
        as_json=as_json,
    )
