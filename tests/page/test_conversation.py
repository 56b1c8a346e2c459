"""One call: what the page shows of it, and that a selection is one everywhere."""

from __future__ import annotations

from typing import Any

from tests.page.conftest import OpenPage, Viewing
from tests.support import kept_call


def facts(page: Any) -> dict[str, str]:
    return {
        fact.query_selector("dt").inner_text(): " ".join(
            fact.query_selector("dd").inner_text().split()
        )
        for fact in page.query_selector_all(".fact")
    }


def test_the_facts_stand_on_top(viewing: Viewing, open_page: OpenPage) -> None:
    """Duration, turns, latency, interruptions, dead air, talk, tokens, cost, errors."""
    found = facts(open_page(viewing.at()))
    assert {
        "Duration": "12 s",
        "Turns": "4 1 tool call",
        "Voice to voice": "1.6 s p95 1.6 s",
        "Interruptions": "1",
        "Dead air": "2.4 s longest 2.0 s",
        "Talk": "42 : 58",
        "Tokens": "420 300 in, 120 out",
        "Errors": "1",
    }.items() <= found.items()
    # 100 text and 200 audio tokens in, 40 and 80 out, at the list price of gpt-realtime.
    assert found["Cost"].startswith("$0.0126")


def test_prices_are_edited_and_kept(viewing: Viewing, open_page: OpenPage) -> None:
    """A price is anybody's to change; the browser remembers it."""
    page = open_page(viewing.at())
    page.click(".cost .plain")
    page.fill("input[aria-label='gpt-realtime: price of Audio out']", "1000")
    page.keyboard.press("Enter")
    page.click("text=Done")
    assert facts(page)["Cost"].startswith("$0.0874")
    page.reload()
    page.wait_for_selector(".fact")
    assert facts(page)["Cost"].startswith("$0.0874")


def test_words_that_nobody_heard_are_struck_out(viewing: Viewing, open_page: OpenPage) -> None:
    """What was heard stands beside what was generated."""
    page = open_page(viewing.at())
    words = page.query_selector_all(".turn .words")[1]
    assert words.query_selector("del").inner_text().strip() == "it will stay so until Friday."
    assert "heard 2.7 s of 8.0 s" in page.inner_text(".chip.cut")


def test_latency_is_told_by_its_causes(viewing: Viewing, open_page: OpenPage) -> None:
    """In the transcript, and in full for the turn that is selected."""
    page = open_page(viewing.at())
    page.click("text=In Tokyo it rains.")
    rows = page.query_selector_all(".latency-table tr")
    assert [
        ("noticing the end of speech", "500 ms"),
        ("the model's first audio", "600 ms"),
        ("waiting for tools", "500 ms"),
    ] == [
        (row.query_selector("th").inner_text(), row.query_selector_all("td")[1].inner_text())
        for row in rows
    ]


def test_a_selection_is_one_everywhere(viewing: Viewing, open_page: OpenPage) -> None:
    """A tool that is clicked on the axis opens its turn, its model call and its details."""
    page = open_page(viewing.at())
    box = page.query_selector(".surface").bounding_box()
    tools = page.query_selector(".label.thin:has-text('Tools')").bounding_box()
    page.mouse.click(
        box["x"] + box["width"] * 7550 / kept_call.DURATION_MS, tools["y"] + tools["height"] / 2
    )
    assert page.inner_text(".inspector h2") == "lookup_weather"
    chosen = page.query_selector(".turn.chosen")
    assert "In Tokyo it rains." in chosen.inner_text()
    assert chosen.query_selector("details.tool.chosen") is not None
    page.click(".inspector .tabs >> text=Selection")
    page.click(".turn.chosen .words")
    assert page.inner_text(".inspector h2") == "Agent, turn 4"


def test_what_was_silenced_is_listed(viewing: Viewing, open_page: OpenPage) -> None:
    """Where, how long, on which side; the axis has it hatched."""
    call = kept_call.call_object("quiet")
    call["redacted"] = [{"start_ms": 700, "end_ms": 2300, "side": "user", "why": "call"}]
    kept_call.keep(viewing.folder, call)
    viewing.calls.refresh()
    page = open_page(viewing.at("quiet"))
    page.click("#tab-call")
    assert "0:00.70 1.6 s user" in page.inner_text(".panel")


def test_an_error_stands_between_the_turns(viewing: Viewing, open_page: OpenPage) -> None:
    """With its message and code; its details are one key away."""
    page = open_page(viewing.at())
    assert "Cancellation failed" in page.inner_text(".turn.failure")
    page.keyboard.press("e")
    assert page.inner_text(".inspector h2") == "response_cancel_not_active"


def test_hostile_text_stays_text(viewing: Viewing, open_page: OpenPage) -> None:
    """Whatever was said, named or answered is shown as it is and never run."""
    evil = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"
    call = kept_call.with_work(kept_call.call_object("evil"))
    call |= {"name": evil, "thread_id": evil, "metadata": {evil: evil}, "voice": evil}
    for turn in call["turns"]:
        turn["text"] = turn["heard_text"] = evil
    call["tools"][0] |= {"name": evil, "arguments": evil, "result": evil, "error": evil}
    call["errors"][0] |= {"message": evil, "code": evil}
    kept_call.keep(viewing.folder, call)
    viewing.calls.refresh()
    page = open_page(viewing.at("evil"))
    page.click("details.tool summary")
    page.click("#tab-call")
    page.goto(viewing.url)
    page.wait_for_selector(".rows .tr a")
    assert page.evaluate("window.hacked") is None
    assert evil in page.inner_text(".rows")


def test_a_call_that_is_not_there(viewing: Viewing, open_page: OpenPage) -> None:
    """It says so, and leads to the list."""
    page = open_page(viewing.at("nobody"), expects="status of 404")
    assert page.inner_text("h1") == "This call cannot be shown"
    page.click("text=All calls")
    page.wait_for_selector(".rows .tr a")


def test_axis_zooms_to_where_one_looks(viewing: Viewing, open_page: OpenPage) -> None:
    """Keys and the wheel; the strip of the whole call appears with the first zoom."""
    page = open_page(viewing.at())
    assert page.query_selector(".overview") is None
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.wait_for_selector(".overview")
    page.keyboard.press("0")
    page.wait_for_selector(".overview", state="detached")
