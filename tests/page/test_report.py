"""A report opened from a disk: the same page, all in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otel_realtime.viewing.command import write_report
from tests.page.conftest import OpenPage
from tests.page.test_listening import hears, saved
from tests.support import kept_call

pytest.importorskip("soundfile")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """The report of a call with hostile words in it."""
    call = kept_call.with_work(kept_call.call_object())
    call["turns"][2]["text"] = "</script><script>window.hacked=1</script><!-- & <b>"
    call["turns"][2]["heard_text"] = call["turns"][2]["text"]
    kept_call.keep(tmp_path, call)
    target = tmp_path / "call.html"
    assert write_report("call-1", output=target, recordings_dir=str(tmp_path)) == 0
    return target


def test_it_opens_from_a_disk_and_asks_for_nothing(report: Path, open_page: OpenPage) -> None:
    """No request leaves it, whatever is looked at."""
    asked: list[str] = []
    page = open_page(report.as_uri())
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.wait_for_selector(".timeline")
    page.click("text=It is sunny")
    page.click("#tab-call")
    assert [] == [url for url in asked if not url.startswith(("file:", "blob:", "data:"))]
    assert page.evaluate("window.hacked") is None
    assert "</script><script>" in page.inner_text(".transcript")
    assert page.query_selector("#tab-spans") is None


def test_its_sound_is_the_calls(report: Path, open_page: OpenPage) -> None:
    """Ogg Opus from inside the file, side by side as recorded."""
    page = open_page(report.as_uri())
    page.click("text=It is sunny")
    page.keyboard.press("Enter")
    hears(page, [0, 800])


@pytest.mark.parametrize(
    ("click", "begins"),
    [
        (".turn.chosen button[aria-label^='Save turn']", b"RIFF"),
        (".menu-items button:has-text('WebVTT')", b"WEBVTT\n\n00:00:00.500 --> 00:00:02.500"),
        (".menu-items button:has-text('SubRip')", b"1\n00:00:00,500 --> 00:00:02,500"),
        (".menu-items button:has-text('JSON')", b'{\n  "schema": "otel-realtime/call"'),
        (".menu-items button:has-text('Recording')", b"OggS"),
    ],
)  # fmt: skip
def test_everything_is_saved_from_the_file(
    click: str, begins: bytes, report: Path, open_page: OpenPage
) -> None:
    """The browser makes what a server makes elsewhere."""
    page: Any = open_page(report.as_uri())
    page.click("text=It is sunny")
    if "menu" in click:
        page.click("button[aria-label='Save the call']")
    _, content = saved(page, click)
    assert begins == content[: len(begins)]
