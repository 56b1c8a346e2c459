"""What the commands print: for people on a terminal, plain when piped, JSON where it is asked for."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from rich.console import Console

#: Control characters other than the ends of lines and tabs, and those that turn the direction of text:
#: https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters
_STEERING: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
#: Width of what is piped: nothing is wrapped or cut there, so that `grep` finds whole lines.
_PIPED: Final = 10_000


def say(text: str = "", *, error: bool = False, style: str | None = None) -> None:
    """Print a line.

    Characters that the terminal's encoding lacks are escaped; an output that whoever started the
    command has closed takes nothing.

    Args:
        text: the line, without its end.
        error: to standard error.
        style: how a terminal shows it, as ``rich`` names styles: ``bold``, ``red``.

    Raises:
        OSError: nobody reads the output any more, or it cannot be written.
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
    """Print what would be in a file: as UTF-8, whatever the encoding of the terminal is.

    Raises:
        OSError: nobody reads the output any more, or it cannot be written.
    """
    if sys.stdout is None:
        return
    with _named("standard output"):
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
        sys.stdout.buffer.flush()


@contextmanager
def _named(output: str) -> Iterator[None]:
    """Give an error of the system the name of the output: a full disk does not say which."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or output
        raise


def tell(text: str, *, error: bool = False) -> None:
    """Print a line of progress: that nobody reads it is no reason to stop the work."""
    with suppress(OSError, ValueError):
        say(text, error=error)


def complain(problem: object) -> None:
    """Print what went wrong to standard error, under the command's name."""
    tell(f"otel-realtime: {problem}", error=True)


def say_json(value: Any) -> None:
    """Print a value as indented JSON; what an output's encoding lacks is escaped as JSON does it."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if sys.stdout is not None and shown(text, sys.stdout) != text:
        text = json.dumps(value, indent=2)
    say(text)


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings, in columns of equal width; the last one is never cut."""
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
    """Return a text with what a file's encoding lacks (a thread's id, a name) escaped."""
    encoding = file.encoding or "utf-8"
    return harmless(text).encode(encoding, "backslashreplace").decode(encoding)


def harmless(text: str) -> str:
    """Return a text with what steers a terminal escaped, as JSON writes it.

    A thread's id, a file's name, what was said or what a server answers is anybody's text.
    """
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def is_terminal(file: TextIO | None = None) -> bool:
    """Whether a person looks at an output: standard output, if none is given."""
    file = file or sys.stdout
    return file is not None and file.isatty()


def terminal(file: TextIO | None = None) -> Console:
    """Return ``rich``'s console on an output: for live displays, progress and styles.

    It obeys ``NO_COLOR`` and ``TERM``, and wraps nothing where nobody looks.
    """
    from rich.console import Console  # a command's work may need none of it

    file = file or sys.stdout
    return Console(
        file=file, highlight=False, markup=False, width=None if is_terminal(file) else _PIPED
    )
