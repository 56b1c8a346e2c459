"""What is heard: the sample under the click, one side, faster, without silence, by keys alone."""

from __future__ import annotations

import io
import wave
from typing import Any

import pytest

from tests.page.conftest import OpenPage, Viewing
from tests.support import kept_call
from tests.support.kept_call import DURATION_MS, TALK
from tests.support.waiting import wait_for


def click_at(page: Any, ms: float, row: str = "User") -> None:
    box = page.query_selector(".surface").bounding_box()
    label = page.query_selector(f".label:has-text('{row}')").bounding_box()
    page.mouse.click(box["x"] + box["width"] * ms / DURATION_MS, label["y"] + label["height"] / 2)


def seconds(page: Any) -> float:
    minutes, rest = page.inner_text(".transport .time b").split(":")
    return 60 * float(minutes) + float(rest)


def heard(page: Any) -> list[int]:
    """The tone on each ear, in Hz, to the nearest 100; 0: silence."""
    return [round(page.evaluate(f"loudestHz({ear})") / 100) * 100 for ear in (0, 1)]


def hears(page: Any, tones: list[int]) -> None:
    wait_for(lambda: page.evaluate("Boolean(window.ears)") and heard(page) == tones, f"{tones} Hz")


@pytest.mark.parametrize("said", TALK, ids=[f"{said.hz} Hz" for said in TALK])
def test_a_click_hears_the_sample_that_is_shown(
    said: kept_call.Said, viewing: Viewing, open_page: OpenPage
) -> None:
    """Each turn has a tone: a click into the middle of its wave plays it, on its side."""
    page = open_page(viewing.at())
    click_at(page, (said.start_ms + said.end_ms) / 2, "User" if said.role == "user" else "Agent")
    hears(page, [said.hz, 0] if said.role == "user" else [0, said.hz])


def test_play_moves_and_pauses(viewing: Viewing, open_page: OpenPage) -> None:
    """The button, and the space bar."""
    page = open_page(viewing.at())
    page.click("button[aria-label=Play]")
    wait_for(lambda: seconds(page) > 0.4, "movement")
    page.click("button[aria-label=Pause]")
    at = seconds(page)
    page.wait_for_timeout(300)
    assert seconds(page) == at
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(" ")
    page.wait_for_selector("button[aria-label=Pause]")


def test_one_turn_is_played_to_its_end(viewing: Viewing, open_page: OpenPage) -> None:
    """It stops by itself, where the turn does."""
    page = open_page(viewing.at())
    page.keyboard.press("3")
    page.click("text=Stop. And in Tokyo?")
    page.keyboard.press("Enter")
    page.wait_for_selector("button[aria-label=Pause]")
    page.wait_for_selector("button[aria-label=Play]")
    assert seconds(page) == pytest.approx(7.0, abs=0.25)


@pytest.mark.alone
def test_solo_and_mute(viewing: Viewing, open_page: OpenPage) -> None:
    """A side alone is heard on both ears; a muted one on none."""
    page = open_page(viewing.at())
    click_at(page, 3400, "Agent")
    hears(page, [0, 800])
    page.keyboard.press("a")
    hears(page, [800, 800])
    page.keyboard.press("u")
    hears(page, [0, 0])
    page.keyboard.press("u")
    hears(page, [0, 800])


@pytest.mark.alone
def test_faster_keeps_the_pitch(viewing: Viewing, open_page: OpenPage) -> None:
    """At twice the speed the tone is the same, and time runs twice as fast."""
    page = open_page(viewing.at())
    page.keyboard.press("3")
    click_at(page, 3400, "Agent")
    hears(page, [0, 800])
    before, began = seconds(page), page.evaluate("performance.now()")
    page.wait_for_timeout(700)
    rate = (seconds(page) - before) / (page.evaluate("performance.now()") - began) * 1000
    assert 1.6 < rate < 2.4


def test_silence_is_skipped(viewing: Viewing, open_page: OpenPage) -> None:
    """From the end of one turn to the beginning of the next."""
    page = open_page(viewing.at())
    page.keyboard.press("s")
    page.wait_for_timeout(300)
    click_at(page, 6800)
    began = page.evaluate("performance.now()")
    wait_for(lambda: seconds(page) >= 8.6, "sound")
    assert page.evaluate("performance.now()") - began < 1400


def test_a_link_leads_to_a_time(viewing: Viewing, open_page: OpenPage) -> None:
    """The address has it, and so has what a key copies."""
    page = open_page(f"{viewing.at()}#t=6.5")
    assert seconds(page) == 6.5
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("c")
    assert page.url.endswith("#t=1.50")


def test_keyboard_alone(viewing: Viewing, open_page: OpenPage) -> None:
    """From turn to turn, to the next interruption, and the list of all keys."""
    page = open_page(viewing.at())
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    assert "It is sunny" in page.inner_text(".turn.chosen")
    assert seconds(page) == 3.3
    page.keyboard.press("Home")
    page.keyboard.press("i")
    assert page.inner_text(".inspector h2") == "Interruption"
    assert seconds(page) == 6.0
    page.keyboard.press("?")
    # Open, not only there: before that, Escape closes nothing.
    assert "Play or pause" in page.inner_text("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")


def saved(page: Any, click: str) -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.click(click)
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_a_turn_is_saved_as_wav(viewing: Viewing, open_page: OpenPage) -> None:
    """Exactly its samples, both sides."""
    page = open_page(viewing.at())
    page.click("text=Stop. And in Tokyo?")
    name, content = saved(page, "button[aria-label='Save turn 3 as WAV']")
    assert name == "thread-call-1-user-3.wav"
    with wave.open(io.BytesIO(content)) as file:
        frames = file.readframes(file.getnframes())
        assert (file.getframerate(), file.getnchannels()) == (kept_call.RATE, 2)
    assert kept_call.sound(TALK, DURATION_MS)[6000 * 8 : 7000 * 8].tobytes() == frames


@pytest.mark.parametrize(
    ("item", "name", "begins"),
    [
        ("WebVTT", "thread-call-1.vtt", b"WEBVTT"),
        ("SubRip", "thread-call-1.srt", b"1\n00:00:00,500 --> 00:00:02,500"),
        ("Transcript", "thread-call-1.txt", b""),
        ("JSON", "thread-call-1.json", b'{"schema":"otel-realtime/call"'),
    ],
)
def test_the_words_are_saved(
    item: str, name: str, begins: bytes, viewing: Viewing, open_page: OpenPage
) -> None:
    """Captions for a player and a subtitle editor, a transcript to read, JSON for programs."""
    page = open_page(viewing.at())
    page.click("button[aria-label='Save the call']")
    found, content = saved(page, f".menu-items button:has-text('{item}')")
    assert (name, begins) == (found, content[: len(begins)])
    assert b"What is the weather in Paris?" in content


def test_a_marked_stretch_is_played_and_saved(viewing: Viewing, open_page: OpenPage) -> None:
    """Drag over the wave: a stretch of its own."""
    page = open_page(viewing.at())
    box = page.query_selector(".surface").bounding_box()
    y = box["y"] + 60
    page.mouse.move(box["x"] + box["width"] * 0.25, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, y, steps=5)
    page.mouse.up()
    _, content = saved(page, "button[aria-label='Save the marked stretch as WAV']")
    with wave.open(io.BytesIO(content)) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(3.0, abs=0.05)
    page.keyboard.press("Escape")
    assert page.query_selector("button[aria-label='Remove the mark']") is None
