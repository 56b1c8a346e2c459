"""An hour-long call, and ten thousand calls: measured in the browser, with room for a slow machine."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from otel_realtime.sandbox import Sandbox
from tests.page.conftest import OpenPage, Viewing
from tests.support import kept_call
from tests.support.sandbox_client import HEADERS, S, post_body, run_id, send_json, trace_request
from tests.support.waiting import wait_for

pytestmark = pytest.mark.alone

HOUR_MS = 3_600_000


def milliseconds(page: Any, action: str) -> float:
    """Run an action in the page; return the time until its second frame has been drawn."""
    took: float = page.evaluate(
        f"async () => {{ const began = performance.now(); {action};"
        " await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));"
        " return performance.now() - began; }"
    )
    return took


@pytest.fixture
def hour(viewing: Viewing) -> Viewing:
    """An hour of talk: 800 turns, and its recording."""
    talk = kept_call.long_talk()
    kept_call.keep(viewing.folder, kept_call.call_object("hour", talk, duration_ms=HOUR_MS), talk)
    viewing.calls.refresh()
    return viewing


def test_an_hour_is_fluid(
    hour: Viewing, open_page: OpenPage, record_property: pytest.RecordProperty
) -> None:
    """First paint, a seek, and a scroll through all turns; only what is seen exists."""
    page = open_page(hour.at("hour"))
    page.wait_for_selector(".turn")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    page.wait_for_timeout(800)
    assert page.evaluate("document.querySelectorAll('.turn').length") < 60
    scroll = [
        milliseconds(page, f"document.querySelector('.transcript').scrollTop = {step * 1500}")
        for step in range(1, 21)
    ]
    zoom = [milliseconds(page, "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '+', bubbles: true}))") for _ in range(8)]  # fmt: skip
    for name, value in (("first paint", paint), ("scroll", max(scroll)), ("zoom", max(zoom))):
        record_property(f"{name} ms", round(value))
    assert paint < 2500
    assert sorted(scroll)[len(scroll) // 2] < 150
    assert sorted(zoom)[len(zoom) // 2] < 250


def test_a_seek_in_an_hour_is_heard_at_once(
    hour: Viewing, open_page: OpenPage, record_property: pytest.RecordProperty
) -> None:
    """By range requests: what is between is not loaded."""
    page = open_page(hour.at("hour"))
    page.wait_for_timeout(500)
    box = page.query_selector(".surface").bounding_box()
    began = page.evaluate("performance.now()")
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 60)
    wait_for(lambda: page.evaluate("Boolean(window.ears) && (loudestHz(0) + loudestHz(1)) > 0"), "sound", every_s=0.01, timeout_s=30)  # fmt: skip
    record_property("seek ms", round(page.evaluate("performance.now()") - began))
    assert page.inner_text(".transport .time b") >= "44:5"


def test_seven_thousand_spans(
    sandbox: Sandbox, open_page: OpenPage, record_property: pytest.RecordProperty
) -> None:
    """Listed without their payloads, and scrolled through."""
    send_json(sandbox.url, "post", post_body(run_id(1)))
    for first in range(2, 7002, 1000):
        spans = [
            S(n, parent=1, start=n * 10**8, end=n * 10**8 + 1, name=f"event.{n}",
              attributes={"gen_ai.prompt": json.dumps({"event": {"text": "x" * 400}})})
            for n in range(first, first + 1000)
        ]  # fmt: skip
        requests.post(
            f"{sandbox.url}/otel/v1/traces",
            data=trace_request(*spans),
            headers={**HEADERS, "Content-Type": "application/x-protobuf"},
            timeout=60,
        ).raise_for_status()
    page = open_page(f"{sandbox.url}/conversations/{run_id(1)}", wait_for=".timeline")
    began = page.evaluate("performance.now()")
    page.click("#tab-spans")
    page.wait_for_selector(".span")
    record_property("spans ms", round(page.evaluate("performance.now()") - began))
    assert page.inner_text(".spans .search small") == "7,001"
    assert page.evaluate("document.querySelectorAll('.span').length") < 80
    scroll = [
        milliseconds(page, f"document.querySelector('.tree').scrollTop = {step * 9000}")
        for step in range(1, 21)
    ]
    record_property("scroll ms", round(max(scroll)))
    assert sorted(scroll)[len(scroll) // 2] < 150


def test_ten_thousand_calls(
    viewing: Viewing, open_page: OpenPage, record_property: pytest.RecordProperty
) -> None:
    """Listed page by page, scrolled to the end, searched."""
    for n in range(10_000):
        call = kept_call.call_object(f"many-{n}", metadata={"n": n})
        call["turns"][0]["text"] = f"Where is order {n}?"
        kept_call.keep(viewing.folder, call, None)
    viewing.calls.refresh()
    page = open_page(viewing.url)
    page.wait_for_selector(".rows .tr a")
    assert page.inner_text(".heading [role=status]") == "10,001 calls"
    assert page.evaluate("document.querySelectorAll('.rows .tr').length") < 60
    scroll = [
        milliseconds(page, f"document.querySelector('.rows').scrollTop = {step * 30_000}")
        for step in range(1, 21)
    ]
    wait_for(lambda: page.query_selector(".rows .tr.waiting") is None, "rows")
    began = page.evaluate("performance.now()")
    page.fill("input[placeholder='Search transcripts']", "order 4711?")
    page.wait_for_selector(".rows mark")
    record_property("search ms", round(page.evaluate("performance.now()") - began))
    record_property("scroll ms", round(max(scroll)))
    assert page.inner_text(".heading [role=status]") == "1 call found"
    assert sorted(scroll)[len(scroll) // 2] < 150
