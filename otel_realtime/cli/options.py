"""The types of arguments, and the options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

#: Ten years: longer than any useful wait, and shorter than the longest timeout of a lock.
_LONGEST_S: Final = 315_360_000.0
_LARGEST_MB: Final = 1000.0
_LAST_PORT: Final = 65_535


def folder(text: str) -> Path:
    """Accept the name of a folder; the code that uses the folder reports any problem with it."""
    if not text.strip():  # an unset variable in a script would mean the current directory
        raise click.BadParameter("the name of a folder is empty")
    if "://" in text:  # as a path, it would name a local folder "s3:"
        raise click.BadParameter(f"a folder on this machine is wanted, not a URL: {text!r}")
    return Path(os.path.expanduser(text))


def something(text: str) -> str:
    """Accept any text that is not empty: an empty host would mean all addresses, an empty key is unsafe."""
    if not text.strip():
        raise click.BadParameter("it is empty")
    return text


def megabytes(text: str) -> float:
    """Accept a possible size of a recording, in MB."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= _LARGEST_MB:  # also false for NaN
        raise click.BadParameter(f"not a size from 0 to {_LARGEST_MB:.0f} MB: {text!r}")
    return number


def seconds(text: str) -> float:
    """Accept a possible duration of a wait, in seconds."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= _LONGEST_S:  # also false for NaN
        raise click.BadParameter(f"not a number of seconds: {text!r}")
    return number


def port(text: str) -> int:
    """Accept a port, or 0 for any free one."""
    if not (text.isascii() and text.isdecimal() and int(text) <= _LAST_PORT):
        raise click.BadParameter(f"not a port: {text!r}")
    return int(text)


as_json = click.option(
    "--json", "as_json", is_flag=True, help="Write the result to standard output as JSON."
)
state_dir = click.option(
    "--state-dir",
    type=folder,
    metavar="DIR",
    help="The state directory (default: OTEL_REALTIME_STATE_DIR).",
)
recordings_dir = click.option(
    "--recordings-dir",
    metavar="DIR",
    help="Where recordings are kept (default: OTEL_REALTIME_RECORDINGS_DIR).",
)
links = click.option(
    "--link",
    "links",
    multiple=True,
    metavar="NAME=URL",
    help="Page elsewhere that shows a call, with {run_id}, {trace_id}, {thread_id} or {project} in it; "
    "may be repeated (default: OTEL_REALTIME_LINKS, split by semicolons).",
)
no_browser = click.option("--no-browser", is_flag=True, help="Do not open the page in a browser.")
host = click.option(
    "--host",
    type=something,
    default="127.0.0.1",
    show_default=True,
    metavar="HOST",
    help="Address to listen on.",
)
names = click.option(
    "--name",
    "names",
    type=something,
    multiple=True,
    metavar="HOST",
    help="Further host name under which it is reached; others are refused; may be repeated.",
)
