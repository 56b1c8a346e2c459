"""Playback as the Agents SDK knows it: `RealtimePlaybackTracker`, where an app uses one.

The app tells the tracker what it has played (`on_play_bytes` ends in `on_play_ms`), so that the SDK
truncates at the right place. The same word is the best there is for the recording. A tracker has no
way back to its connection; the item does, because a server's item ids are its own.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from otel_realtime.diagnostics import walled
from otel_realtime.tap.interface import Observer
from otel_realtime.tap.link import Patches

#: Where the tracker is defined; loaded by whoever uses the SDK's Realtime part.
MODULE = "agents.realtime.model"

_observer: Observer | None = None
_patches: list[Patches] = []


def watch(observer: Observer) -> None:
    """Hear what trackers are told, once their module is loaded; asked again at each handshake."""
    global _observer
    _observer = observer
    tracker = getattr(sys.modules.get(MODULE), "RealtimePlaybackTracker", None)
    if tracker is not None and not _patches:
        patches = Patches(tracker)
        patches.put("on_play_ms", _hear(tracker.on_play_ms))
        _patches.append(patches)


def uninstall() -> None:
    """Hear no tracker any more."""
    global _observer
    _observer = None
    while _patches:
        _patches.pop().undo()


def _hear(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def on_play_ms(self: Any, item_id: str, item_content_index: int, ms: float) -> Any:
        result = original(self, item_id, item_content_index, ms)
        _tell(self, item_id, item_content_index)
        return result

    return on_play_ms


@walled
def _tell(tracker: Any, item_id: str, content_index: int) -> None:
    """The tracker adds up; after an interruption it begins anew, and lower positions say nothing."""
    elapsed_ms = tracker.get_state()["elapsed_ms"]
    if _observer is not None and elapsed_ms is not None:
        _observer.played(item_id, content_index, elapsed_ms)
