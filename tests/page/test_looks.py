"""Light and dark, small and large: nothing that axe finds, nothing that runs out of the window."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.page.conftest import OpenPage, Viewing

WEB = Path(__file__).parents[2] / "otel_realtime/sandbox/web"
AXE = WEB / "node_modules/axe-core/axe.min.js"

State = Callable[[Any], object]
STATES: dict[str, tuple[str, State]] = {
    "list": ("/", lambda page: page.wait_for_selector(".rows .tr a")),
    "nothing found": ("/?q=nobody+said+this", lambda page: page.wait_for_selector(".rows .empty")),
    "call": ("/conversations/call-1", lambda page: None),
    "turn": ("/conversations/call-1", lambda page: page.click("text=In Tokyo it rains.")),
    "tool": ("/conversations/call-1", lambda page: page.click("details.tool summary")),
    "facts": ("/conversations/call-1", lambda page: page.click("#tab-call")),
    "prices": ("/conversations/call-1", lambda page: page.click(".cost .plain")),
    "menu": ("/conversations/call-1", lambda page: page.click("button[aria-label='Save the call']")),
    "keys": ("/conversations/call-1", lambda page: page.keyboard.press("?")),
    "zoom": ("/conversations/call-1", lambda page: page.keyboard.press("+")),
}  # fmt: skip
SIZES = {"phone": (390, 844), "laptop": (1280, 800), "screen": (1920, 1080)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(state: str, scheme: str, viewing: Viewing, open_page: OpenPage) -> None:
    """https://github.com/dequelabs/axe-core with all its rules for WCAG 2.2 A and AA and good practice."""
    if not AXE.exists():
        message = "axe-core is not installed: `make web` does"
        pytest.fail(message) if os.environ.get("CI") and shutil.which("npm") else pytest.skip(
            message
        )
    path, reach = STATES[state]
    page = open_page(viewing.url + path, color_scheme=scheme, bypass_csp=True)
    reach(page)
    page.add_script_tag(path=str(AXE))
    for width, height in (SIZES["laptop"], SIZES["phone"]):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(150)
        found = page.evaluate("axe.run()")
        assert [] == [
            (item["id"], [node["html"][:150] for node in item["nodes"]])
            for item in found["violations"]
        ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", ["/", "/conversations/call-1"])
def test_nothing_runs_out_of_the_window(
    path: str, size: str, viewing: Viewing, open_page: OpenPage
) -> None:
    """No page is wider than its window."""
    width, height = SIZES[size]
    page = open_page(viewing.url + path, viewport={"width": width, "height": height})
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_theme_is_chosen_and_kept(viewing: Viewing, open_page: OpenPage) -> None:
    """The system's until somebody says otherwise."""
    page = open_page(viewing.url, color_scheme="dark")
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    page.click("button[aria-label='Light or dark']")
    assert page.evaluate(theme) == "light"
    page.reload()
    page.wait_for_selector("main h1")
    assert page.evaluate(theme) == "light"
