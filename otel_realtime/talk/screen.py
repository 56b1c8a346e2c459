"""Shows the call to the user: a line for each thing said, and on a terminal also levels and live words."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Final, Protocol

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from otel_realtime import console
from otel_realtime.talk.levels import SILENT_DB

#: Lowest level that the meters show.
FLOOR_DB: Final = -60.0
METER_WIDTH: Final = 24
#: Who says a line -> its style on a terminal.
STYLES: Final = {
    "you": "cyan",
    "agent": "green",
    "tool": "yellow",
    "error": "bold red",
    "note": "dim",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """The state of one device, for the screen.

    Attributes:
        label: what it is.
        level_db: its level, dBFS.
        open: whether the microphone's audio is sent; always True for a speaker.
        losses: a text about lost audio; empty if nothing was lost.
    """

    label: str
    level_db: float
    open: bool = True
    losses: str = ""


class Screen(Protocol):
    """Shows the call; a context manager around it."""

    def __enter__(self) -> Screen:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def line(self, who: str, text: str) -> None:
        """Show something that was said or done, permanently."""

    def words(self, who: str, text: str) -> None:
        """Show what somebody is saying now; the next call replaces it."""

    def meters(self, *meters: Meter) -> None:
        """Show the devices."""


class PlainScreen:
    """Prints lines with times, for pipes and logs.

    Args:
        error: whether to print to standard error, because standard output is for the result.
    """

    def __init__(self, *, error: bool = False) -> None:
        self._error = error
        self._started_s = time.monotonic()

    def __enter__(self) -> PlainScreen:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def line(self, who: str, text: str) -> None:
        """Print a line."""
        elapsed_s = time.monotonic() - self._started_s
        console.tell(f"{elapsed_s:6.1f} s  {who:>5}  {text}", error=self._error)

    def words(self, who: str, text: str) -> None:
        """Show nothing; the complete text gets a line."""

    def meters(self, *meters: Meter) -> None:
        """Show nothing, because meters would fill a log."""


class LiveScreen:
    """Prints lines, and below them a live display: the current words, and the level of each device.

    Args:
        help_text: explains the keys.
    """

    def __init__(self, help_text: str) -> None:
        self._help_text = help_text
        self._meters: tuple[Meter, ...] = ()
        self._words: tuple[str, str] | None = None
        self._live = Live(
            console=console.terminal(),
            get_renderable=self._view,
            refresh_per_second=12,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=True,  # a warning in the log must not tear the display
        )

    def __enter__(self) -> LiveScreen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def line(self, who: str, text: str) -> None:
        """Print a line above the display."""
        if self._words is not None and self._words[0] == who:
            self._words = None
        self._live.console.print(_spoken(who, text))

    def words(self, who: str, text: str) -> None:
        """Show the words until the line is complete."""
        self._words = (who, text) if text else None

    def meters(self, *meters: Meter) -> None:
        """Show the devices from the next refresh on."""
        self._meters = meters

    def _view(self) -> RenderableType:
        rows: list[RenderableType] = []
        if self._words is not None:
            rows.append(_spoken(*self._words, more=True))
        rows += [_bar(meter) for meter in self._meters]
        rows.append(Text(self._help_text, style="dim", overflow="ellipsis", no_wrap=True))
        return Group(*rows)


def _spoken(who: str, text: str, *, more: bool = False) -> Text:
    style = STYLES.get(who, "")
    # If the words do not fit into one line, they wrap, so that the latest ones are shown.
    return Text.assemble((f"{who:>6}  ", style), console.harmless(text), " ..." if more else "")


def _bar(meter: Meter) -> Text:
    share = (meter.level_db - FLOOR_DB) / -FLOOR_DB
    filled = round(min(max(share, 0.0), 1.0) * METER_WIDTH)
    style = "dim" if not meter.open else "red" if meter.level_db > -3 else "green"
    level = "silent" if meter.level_db <= SILENT_DB else f"{meter.level_db:.0f} dB"
    state = "" if meter.open else "  muted"
    text = Text.assemble(
        (f"{'':>6}  ", ""),
        ("#" * filled, style),
        ("-" * (METER_WIDTH - filled), "dim"),
        f" {level:>7}  {meter.label}{state}",
        (f"  {meter.losses}", "bold red"),
    )
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def screen_for(*, as_json: bool, help_text: str) -> Screen:
    """Return the screen that suits the output: a terminal, or a pipe or log."""
    if not as_json and console.is_terminal() and console.is_terminal(sys.stderr):
        return LiveScreen(help_text)
    return PlainScreen(error=as_json)
