"""Playback as the Agents SDK knows it: ``RealtimePlaybackTracker``, where an app uses one.

https://openai.github.io/openai-agents-python/ref/realtime/model/

The app tells the tracker what it has played (``on_play_bytes`` ends in ``on_play_ms``), so that the
SDK truncates at the right place. The recording can have no better evidence. A tracker does not know
its connection, but the item leads there, because a server's item ids are its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from otel_realtime.diagnostics import walled
from otel_realtime.tap.patches import Instrumentation, Method

#: Where the tracker is defined; imported by apps that use the Realtime part of the SDK.
MODULE: Final = "agents.realtime.model"


def _wrap_on_play_ms(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def on_play_ms(self: Any, item_id: str, item_content_index: int, ms: float) -> Any:
        result = original(self, item_id, item_content_index, ms)
        _report(self, item_id, item_content_index)
        return result

    return on_play_ms


@walled
def _report(tracker: Any, item_id: str, content_index: int) -> None:
    # The tracker adds up. After an interruption it begins anew; lower positions are ignored.
    elapsed_ms = tracker.get_state()["elapsed_ms"]
    if _agents.observer is not None and elapsed_ms is not None:
        _agents.observer.played(item_id, content_index, elapsed_ms)


_agents: Final = Instrumentation(
    Method(MODULE, "RealtimePlaybackTracker", "on_play_ms", _wrap_on_play_ms)
)
install, uninstall = _agents.install, _agents.uninstall
