"""``otel-realtime export``."""

from __future__ import annotations

from pathlib import Path

import click

from otel_realtime.cli import options
from otel_realtime.cli.help import Command

#: The same as ``exporting.files.PARTS``, whose module is imported only when the command runs.
_PARTS = ("call", "recording", "clips", "vtt", "srt", "transcript")


@click.command(
    "export",
    cls=Command,
    short_help="Write a call down: recording, clips, captions, JSON.",
    epilog="""
  otel-realtime export thread-7 -o call  a call by its thread, in a folder
  otel-realtime export recordings/ -o calls  all calls of a folder
  otel-realtime export thread-7 --json  the call object, for a script
  otel-realtime export thread-7 --url http://127.0.0.1:8321 --only vtt  captions of a sandbox's call
""",
)
@click.argument("what", metavar="CONVERSATION|DIR|FILE")
@click.option(
    "-o",
    "--out",
    type=options.folder,
    metavar="DIR",
    help="Where to write (default: a folder here that is named after the call).",
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(_PARTS),
    help="Write this part only; may be repeated (default: all).",
)
@click.option("--url", metavar="URL", help="Take it from the sandbox at this address.")
@click.option(
    "--key", metavar="KEY", envvar="LANGSMITH_API_KEY", help="Key to read the sandbox with."
)
@options.recordings_dir
@options.state_dir
@options.as_json
def command(
    *,
    what: str,
    out: Path | None,
    only: tuple[str, ...],
    url: str | None,
    key: str | None,
    recordings_dir: str | None,
    state_dir: Path | None,
    as_json: bool,
) -> int:
    """Write a call down as files: call.json (turns, times, words, heard words, latencies, tools,
    tokens), recording.wav (left: user, right: agent), clips/ (one WAV a turn, that side only, named by
    the turn's number and role), captions.vtt, captions.srt, transcript.txt.

    CONVERSATION is a thread id, trace id, run id or name of a call whose recording was kept, or that
    waits in the state directory (it stays there as it is), or, with --url, that a sandbox has. FILE is a
    recording, or the JSON beside it; DIR holds several, or is a state directory.

    With --json the call object is printed, and files are written only if -o says where. Its JSON Schema:
    otel_realtime/calls/call.schema.json. Exits with 0 if everything was written, with 1 if something
    is missing, with 2 if no such call was found.
    """
    from otel_realtime.exporting.command import run

    return run(
        what=what,
        out=out,
        only=only,
        url=url,
        key=key,
        recordings_dir=recordings_dir,
        state_dir=state_dir,
        as_json=as_json,
    )
