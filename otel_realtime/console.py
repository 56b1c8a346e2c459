"""Prints the output of the commands: styled on a terminal, plain when piped, or JSON on request."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from rich.console import Console

#: Control characters except line feeds and tabs, and characters that change the direction of text:
#: https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters
_STEERING: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
#: Width of piped output: large, so that no line is wrapped or cut and `grep` finds whole lines.
_PIPED: Final = 10_000


def say(text: str = "", *, error: bool = False, style: str | None = None) -> None:
    """Print a line.

    Characters that the output's encoding lacks are escaped. If the output was closed by the process that
    started the command, nothing is printed.

    Args:
        text: the line, without a line end.
        error: whether to print to standard error.
        style: ``rich`` style for a terminal, such as ``bold`` or ``red``.

    Raises:
        OSError: the reader of the output has gone, or it cannot be written.
    """
    file = sys.stderr if error else sys.stdout
    if file is None:
        return
    text = shown(text, file)
    with _named("standard error" if error else "standard output"):
        if style and is_terminal(file):
            terminal(file).print(text, style=style, markup=False, highlight=False, soft_wrap=True)
        else:
            file.write(text + "\n")
        file.flush()


def say_file(text: str) -> None:
    """Print the text of a file as UTF-8, regardless of the terminal's encoding.

    Raises:
        OSError: the reader of the output has gone, or it cannot be written.
    """
    if sys.stdout is None:
        return
    with _named("standard output"):
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
        sys.stdout.buffer.flush()


@contextmanager
def _named(output: str) -> Iterator[None]:
    """Add the name of the output to an ``OSError``, because an error such as a full disk does not name it."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or output
        raise


def tell(text: str, *, error: bool = False) -> None:
    """Print a line of progress; an output error does not stop the work."""
    with suppress(OSError, ValueError):
        say(text, error=error)


def complain(problem: object) -> None:
    """Print a problem to standard error, prefixed with the command's name."""
    tell(f"otel-realtime: {problem}", error=True)


def say_json(value: Any) -> None:
    """Print a value as indented JSON; characters that the output's encoding lacks are escaped as in JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if sys.stdout is not None and shown(text, sys.stdout) != text:
        text = json.dumps(value, indent=2)
    say(text)


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings, in aligned columns; no cell is cut."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [
        max(len(line[column]) for line in [list(columns), *cells]) for column in range(len(columns))
    ]

    def line(row: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()

    say(line(columns), style="bold")
    for row in cells:
        say(line(row))


def shown(text: str, file: TextIO) -> str:
    """Return a text as it may be printed to a file: ``harmless``, and escaped where its encoding requires."""
    encoding = file.encoding or "utf-8"
    return harmless(text).encode(encoding, "backslashreplace").decode(encoding)


def harmless(text: str) -> str:
    """Return a text in which characters that steer a terminal are escaped as in JSON.

    Thread ids, file names, transcripts and server answers are untrusted text.
    """
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def is_terminal(file: TextIO | None = None) -> bool:
    """Return whether an output is a terminal; by default, standard output."""
    file = file or sys.stdout
    return file is not None and file.isatty()


def terminal(file: TextIO | None = None) -> Console:
    """Return a ``rich`` console for an output, for live displays, progress and styles.

    It respects ``NO_COLOR`` and ``TERM``, and does not wrap lines if the output is not a terminal.
    """
    from rich.console import Console  # imported late, because many commands do not need it

    file = file or sys.stdout
    return Console(
        file=file, highlight=False, markup=False, width=None if is_terminal(file) else _PIPED
    )
