"""The list of calls: searched, filtered, sorted, growing."""

from __future__ import annotations

from typing import Any

import pytest

from otel_realtime.sandbox import Sandbox
from tests.page.conftest import OpenPage, Viewing
from tests.support import kept_call
from tests.support.kept_call import Said
from tests.support.sandbox_client import SECOND, S, export, patch_body, post_body, run_id, send_json
from tests.support.waiting import wait_for


def names(page: Any) -> list[str]:
    return [row.inner_text() for row in page.query_selector_all(".rows .tr .name a")]


def shows(page: Any, expected: list[str]) -> None:
    wait_for(lambda: expected == names(page), f"list of {expected}")


@pytest.fixture
def three(viewing: Viewing) -> Viewing:
    """Paris (with tool, error, interruption), a refund (slow, of another model), a greeting."""
    slow = (
        Said("user", 500, 900, "I want a refund_50%.", 400),
        Said("assistant", 5000, 6000, "Of course.", 800, latency=(("model", 4100),)),
    )
    hello = (Said("user", 500, 900, "Hello there.", 400),)
    refund = kept_call.call_object(
        "call-2", slow, model="gpt-realtime-mini", metadata={"plan": "gold"}
    )
    greeting = kept_call.call_object("call-3", hello, project="other", duration_ms=30_000)
    refund["started_at"], greeting["started_at"] = (
        "2026-11-27T09:00:00.000Z",
        "2026-11-27T10:00:00.000Z",
    )
    for call in (refund, greeting):
        kept_call.keep(viewing.folder, call, None)
    viewing.calls.refresh()
    return viewing


PARIS, REFUND, HELLO = "What is the weather in Paris?", "I want a refund_50%.", "Hello there."


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [HELLO, REFUND, PARIS]),
        ("?q=it+will+stay", [PARIS]),
        ("?q=REFUND", [REFUND]),
        ("?q=refund_50%25", [REFUND]),
        ("?q=refund%2550_", []),
        ("?model=gpt-realtime-mini", [REFUND]),
        ("?project=other", [HELLO]),
        ("?thread=call-3", [HELLO]),
        ("?meta=plan%3Dgold", [REFUND]),
        ("?meta=plan", [REFUND]),
        ("?meta=plan%3Dsilver", []),
        ("?status=error", [PARIS]),
        ("?interrupted=1", [PARIS]),
        ("?tool=lookup_weather", [PARIS]),
        ("?latency_over=2000", [REFUND]),
        ("?sort=started", [PARIS, REFUND, HELLO]),
        ("?sort=-duration", [HELLO, PARIS, REFUND]),
        ("?sort=-p95", [REFUND, PARIS, HELLO]),
    ],
)  # fmt: skip
def test_the_address_says_what_is_listed(
    query: str, expected: list[str], three: Viewing, open_page: OpenPage
) -> None:
    """Each filter and sort; what is not known stands last."""
    shows(open_page(f"{three.url}/{query}"), expected)


def test_filters_are_typed_and_clicked(three: Viewing, open_page: OpenPage) -> None:
    """The address follows, what matched is marked, and all are removed at once."""
    page = open_page(three.url)
    page.fill("input[placeholder='Search transcripts']", "sunny in")
    shows(page, [PARIS])
    assert page.inner_text(".rows mark") == "sunny in"
    assert page.url.endswith("?q=sunny+in")
    page.click("text=Clear")
    shows(page, [HELLO, REFUND, PARIS])
    page.click("button:has-text('Errors'):not(.plain)")
    shows(page, [PARIS])
    page.click("button:has-text('Errors'):not(.plain)")
    page.select_option("label:has-text('Model') select", "gpt-realtime-mini")
    shows(page, [REFUND])
    page.click("text=Clear")
    page.click(".head >> text=Length")
    shows(page, [HELLO, PARIS, REFUND])


def test_a_row_leads_to_its_call(three: Viewing, open_page: OpenPage) -> None:
    """By click and by keyboard."""
    page = open_page(three.url)
    shows(page, [HELLO, REFUND, PARIS])
    page.click(".rows .tr >> nth=2")
    page.wait_for_selector(".timeline")
    assert page.inner_text("h1") == PARIS
    page.go_back()
    page.wait_for_selector(".rows .tr a")
    page.focus(".rows .tr a >> nth=1")
    page.keyboard.press("Enter")
    page.wait_for_selector(".timeline")
    assert page.inner_text("h1") == REFUND


def test_a_new_recording_appears(three: Viewing, open_page: OpenPage) -> None:
    """Nobody reloads the page."""
    page = open_page(three.url)
    shows(page, [HELLO, REFUND, PARIS])
    new = kept_call.call_object("call-4", (Said("user", 1, 900, "Just now.", 400),))
    new["started_at"] = "2026-11-27T11:00:00.000Z"
    kept_call.keep(three.folder, new, None)
    shows(page, ["Just now.", HELLO, REFUND, PARIS])
    assert page.query_selector("text=Delete all") is None


def test_a_live_call_grows(sandbox: Sandbox, open_page: OpenPage) -> None:
    """In the list and on its own page, as its spans come; no request asks whether there is news."""
    root = run_id(1)
    listed = open_page(sandbox.url)
    listed.wait_for_selector("text=No calls yet")
    send_json(sandbox.url, "post", post_body(root))
    listed.wait_for_selector(".rows .status.live")
    shown = open_page(f"{sandbox.url}/conversations/{root}")
    assert shown.inner_text(".status.live") == "live"
    shown.keyboard.press("t")
    shown.wait_for_selector(".span")
    asked: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    shown.wait_for_timeout(600)
    assert [] == asked
    export(sandbox.url, S(2, parent=1, start=5, name="response.created"))
    shown.wait_for_selector(".span:has-text('response.created')")
    send_json(sandbox.url, "patch", patch_body(root))
    shown.wait_for_selector("text=ended")
    listed.wait_for_selector(".rows .status.live", state="detached")


def test_a_sandbox_is_emptied(sandbox: Sandbox, open_page: OpenPage) -> None:
    """After a question; a folder of recordings is only looked at."""
    export(sandbox.url, S(name="a call"))
    page = open_page(sandbox.url)
    shows(page, ["a call"])
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.click("text=Delete all")
    shows(page, ["a call"])
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("text=Delete all")
    page.wait_for_selector("text=No calls yet")
    assert [] == sandbox.conversations()


def test_spans_are_searched_and_opened(sandbox: Sandbox, open_page: OpenPage) -> None:
    """In their names and payloads, which come when they are asked for."""
    send_json(sandbox.url, "post", post_body(run_id(1)))
    export(
        sandbox.url,
        *(
            S(n, parent=1, start=n * 1000, end=SECOND + n, name=f"event.{n}",
              attributes={"gen_ai.prompt": f'{{"needle": "<b>{n}</b>"}}'})
            for n in range(2, 40)
        ),
    )  # fmt: skip
    page = open_page(f"{sandbox.url}/conversations/{run_id(1)}")
    page.click("#tab-spans")
    page.wait_for_selector(".span >> nth=3")
    page.fill(".spans input", "<b>17</b>")
    wait_for(lambda: ["event.17"] == [row.inner_text() for row in page.query_selector_all(".span .name")], "one span")  # fmt: skip
    page.click(".span")
    page.wait_for_selector(".payload pre")
    assert "<b>17</b>" in page.inner_text(".payload pre")
