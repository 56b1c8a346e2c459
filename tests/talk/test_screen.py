"""What the user sees: lines in a pipe; words and levels on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from otel_realtime.talk.levels import SILENT_DB
from otel_realtime.talk.screen import LiveScreen, Meter, PlainScreen, screen_for


def test_a_pipe_gets_lines_with_times(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither levels nor half sentences."""
    with PlainScreen() as screen:
        screen.words("agent", "In Par")
        screen.meters(Meter(label="microphone", level_db=-20))
        screen.line("agent", "In Paris.")
    assert ("   0.0 s  agent  In Paris.\n", "") == capsys.readouterr()


def test_with_json_they_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is for the summary."""
    screen_for(as_json=True, help_text="").line("you", "Hello.")
    out, err = capsys.readouterr()
    assert ("", True) == (out, err.endswith("    you  Hello.\n"))


def shown(*meters: Meter, words: tuple[str, str] | None = None, width: int = 80) -> list[str]:
    """The lines that change, as a terminal of that width shows them."""
    screen = LiveScreen("Ctrl-C: end the call")
    screen.meters(*meters)
    if words is not None:
        screen.words(*words)
    console = Console(file=io.StringIO(), width=width)
    console.print(screen._view())
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_a_terminal_shows_the_words_of_the_moment_and_both_levels() -> None:
    """What is lost stands beside the device."""
    assert [
        " agent  In Par ...",
        "        ############------------  -30 dB  microphone USB",
        "        ------------------------  silent  speaker Built-in  2 underruns",
        "Ctrl-C: end the call",
    ] == shown(
        Meter(label="microphone USB", level_db=-30),
        Meter(label="speaker Built-in", level_db=SILENT_DB, losses="2 underruns"),
        words=("agent", "In Par"),
    )


def test_a_muted_microphone_shows_that_it_works() -> None:
    """Its level, and that nobody hears it."""
    first, _ = shown(Meter(label="microphone", level_db=-6, open=False))
    assert "        ######################--   -6 dB  microphone  muted" == first


def test_a_narrow_terminal_cuts_the_line() -> None:
    """One line for each device, whatever its name."""
    assert 2 == len(shown(Meter(label="microphone " + "x" * 100, level_db=-6), width=50))


def test_a_sentence_that_is_complete_is_no_longer_the_one_of_the_moment() -> None:
    """Only its speaker's."""
    screen = LiveScreen("")
    screen.words("you", "Wait")
    screen.line("agent", "In Paris.")
    assert ("you", "Wait") == screen._words
    screen.line("you", "Wait!")
    assert None is screen._words
