"""What commands print, and where nobody looks."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest

from otel_realtime import console


def test_what_the_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a letter that the terminal cannot show is no reason to fail."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    console.say("café")
    assert b"caf\\xe9\n" == raw.getvalue()


def test_nothing_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A thread's id is anybody's text; JSON with it is the same value."""
    text = "a\x1b[31mb\x9b1m\u202ec\r\x07\t\nd"
    console.say(text)
    assert "a\\u001b[31mb\\u009b1m\\u202ec\\u000d\\u0007\t\nd\n" == capsys.readouterr().out
    console.say_json({"text": text})
    assert {"text": text} == json.loads(capsys.readouterr().out)


def test_an_output_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes nothing, and nothing happens."""
    monkeypatch.setattr(sys, "stdout", None)
    console.say("anything")
    console.tell("anything")


def test_progress_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """``tell`` goes on where ``say`` raises."""
    reading, writing = os.pipe()
    os.close(reading)
    output = os.fdopen(writing, "w")
    monkeypatch.setattr(sys, "stdout", output)
    console.tell("step 1")
    with pytest.raises(BrokenPipeError):
        console.say("step 2")
    monkeypatch.undo()
    with suppress(BrokenPipeError):  # what nobody has read is still in it
        output.close()


def test_json_is_the_value(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing else."""
    console.say_json({"name": "café", "ms": 12})
    assert {"name": "café", "ms": 12} == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_stays_json_in_every_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the encoding lacks is escaped as JSON does it, not as Python does."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    value = {"file": "caf\xe9 \U0001f600 \udcff.wav"}
    console.say_json(value)
    assert value == json.loads(raw.getvalue().decode(encoding))


def test_a_table_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns of equal width, no colours, no borders, nothing cut."""
    console.say_table(["what", "ms"], [["first audio", 412], ["x" * 200, 7]])
    expected = [f"{'what':200}  ms", f"{'first audio':200}  412", f"{'x' * 200}  7"]
    assert expected == capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("variables", "bold"), [({}, True), ({"NO_COLOR": "1"}, True)])
def test_a_terminal_shows_styles(variables: dict[str, str], bold: bool) -> None:
    """A heading is bold on a terminal, and markup in a text stays text."""
    master, slave = pty.openpty()
    code = "from otel_realtime import console; console.say('[red]x', style='bold')"
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", **variables}
    subprocess.run([sys.executable, "-c", code], stdout=slave, env=environment, check=True)
    os.close(slave)
    shown = os.read(master, 1_000)
    os.close(master)
    assert bold is (b"\x1b[1m" in shown)
    assert b"[red]x" in shown
