"""A real browser on the page: Chromium as the system has it, driven by playwright.

A test is skipped where there is no browser, and fails for it in CI.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from otel_realtime.sandbox import Sandbox
from otel_realtime.sandbox.access import own_names
from otel_realtime.sandbox.foreground import listen
from otel_realtime.viewing.files import files_of
from otel_realtime.viewing.kept import KeptCalls
from otel_realtime.viewing.server import Watch, server_for
from tests.support import kept_call
from tests.support.waiting import wait_for

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Keeps the page's sound for a test to look at: what goes to the loudspeaker passes an analyser.
LISTEN = """
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (target === this.context.destination && !window.ears) {
    const splitter = this.context.createChannelSplitter(2);
    window.ears = [0, 1].map((channel) => {
      const analyser = this.context.createAnalyser();
      analyser.fftSize = 2048;
      connect.call(splitter, analyser, channel);
      return analyser;
    });
    connect.call(this, splitter);
  }
  return connect.call(this, target, ...rest);
};
window.loudestHz = (channel) => {
  const analyser = window.ears[channel];
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  const best = bins.reduce((found, level, n) => (level > bins[found] ? n : found), 0);
  return bins[best] < -70 ? 0 : Math.round(best * analyser.context.sampleRate / analyser.fftSize);
};
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for a file: as long as it is there, no other test can run an event loop."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        message = f"no browser: none of {', '.join(BROWSERS)}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()


OpenPage = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any) -> Iterator[OpenPage]:
    """Open addresses; whatever the console or the page reports as an error fails the test."""
    problems: list[str] = []
    with ExitStack() as closing:

        def opened(
            url: str, wait_for: str = "main h1", expects: str | None = None, **options: Any
        ) -> Any:
            options.setdefault("viewport", {"width": 1280, "height": 900})
            options.setdefault("reduced_motion", "reduce")
            context = browser.new_context(**options)
            closing.callback(context.close)
            context.add_init_script(LISTEN)
            page = context.new_page()
            page.set_default_timeout(15_000)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on(
                "console",
                lambda said: (
                    problems.append(said.text)
                    if said.type == "error" and (expects is None or expects not in said.text)
                    else None
                ),
            )
            page.goto(url)
            page.wait_for_selector(wait_for)
            return page

        yield opened
    assert [] == problems


class Viewing:
    """The page over a folder of recordings, inside of the ``with`` block."""

    def __init__(self, folder: Path, made: Path) -> None:
        self.folder = folder
        fetched = made / "fetched"
        fetched.mkdir()
        self.calls = KeptCalls(files_of(str(folder), fetched))
        self._listener, self.url = listen("127.0.0.1", 0)
        self._server = server_for(self.calls, made / "peaks", names=own_names("127.0.0.1"))
        self._watch = Watch(self.calls, 0.2)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],))

    def __enter__(self) -> Viewing:
        self._thread.start()
        wait_for(lambda: self._server.started, "server")
        self._watch.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.__exit__(None, None, None)
        self._server.should_exit = True
        self._thread.join(10)
        self.calls.close()

    def at(self, call_id: str = "call-1") -> str:
        """The address of a call's page."""
        return f"{self.url}/conversations/{call_id}"


@pytest.fixture
def viewing(tmp_path: Path) -> Iterator[Viewing]:
    """The page over a folder with one call; tests put others beside it."""
    folder, made = tmp_path / "recordings", tmp_path / "made"
    folder.mkdir()
    made.mkdir()
    kept_call.keep(folder, kept_call.with_work(kept_call.call_object()))
    with Viewing(folder, made) as running:
        yield running


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """An empty sandbox. Named before ``open_page``, it outlives the pages, which listen to it."""
    with Sandbox(tmp_path / "sandbox") as running:
        yield running
