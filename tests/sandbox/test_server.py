"""The server as an object of a test's or a program's."""

from __future__ import annotations

import threading
from pathlib import Path

from otel_realtime.sandbox import Sandbox


def test_leaves_no_thread_behind(tmp_path: Path) -> None:
    """The server's thread ends with the block."""
    before = set(threading.enumerate())
    with Sandbox(tmp_path):
        added = [thread.name for thread in set(threading.enumerate()) - before]
        assert "otel-realtime-sandbox" in added
    alive = [t.name for t in set(threading.enumerate()) - before if "sandbox" in t.name]
    assert alive == []
