"""Calls ``on_message`` at the same events and with the same text as LangSmith does.

The Agents SDK repeats the whole history with each update. It also sends a user's transcript earlier, as
a raw event. Each distinct pair of role and text is one line, so a growing answer gives a new line each
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

_SPOKEN: Final = ("user", "assistant")
_Item = tuple[str | None, str | None, str | None]


class Lines:
    """The transcript of one session, line by line.

    Args:
        on_message: the app's callback; its exceptions are not caught here.
    """

    def __init__(self, on_message: Callable[[str, str], None]) -> None:
        self._on_message = on_message
        #: Item id -> role and latest text, in order of arrival.
        self._items: dict[str, list[str | None]] = {}
        self._complete: set[str] = set()
        self._told: set[tuple[str, str]] = set()

    def seen(self, event: Any) -> None:
        """Handle an event of the session."""
        items = list(_items(event))
        if not items:
            return
        for item_id, role, text in items:
            if item_id:
                self._add(item_id, role, text)
        self._finish(len(self._items) - 1)  # the last one may still grow

    def end(self) -> None:
        """Report the items that are not reported yet."""
        self._finish(len(self._items))

    def _add(self, item_id: str, role: str | None, text: str | None) -> None:
        item = self._items.get(item_id)
        if item is None:
            if role == "user":  # a user's turn ends the turn before it
                self._finish(len(self._items))
            self._items[item_id] = [role, text]
        else:
            item[0] = role or item[0]
            item[1] = text or item[1]
        self._tell(role, text)

    def _finish(self, count: int) -> None:
        for item_id, (role, text) in list(self._items.items())[:count]:
            if item_id not in self._complete:
                text = (text or "").strip()
                if text or role not in _SPOKEN:
                    self._complete.add(item_id)
                    self._tell(role, text)

    def _tell(self, role: str | None, text: str | None) -> None:
        if role in _SPOKEN and text and (role, text) not in self._told:
            self._told.add((role, text))
            self._on_message(role, text)


def _items(event: Any) -> Iterator[_Item]:
    """Yield the id, role and text of each item in an event."""
    kind = getattr(event, "type", None)
    if kind == "history_updated":
        yield from map(_item, getattr(event, "history", None) or ())
    elif kind == "history_added":
        yield _item(getattr(event, "item", None))
    elif kind == "raw_model_event":
        data = getattr(event, "data", None)
        said = (getattr(data, "transcript", None) or "").strip()
        if said and getattr(data, "type", None) == "input_audio_transcription_completed":
            yield getattr(data, "item_id", None), "user", said


def _item(item: Any) -> _Item:
    parts = getattr(item, "content", None) or ()
    texts = [getattr(part, "transcript", None) or getattr(part, "text", None) for part in parts]
    said = " ".join(text for text in texts if text)
    return getattr(item, "item_id", None), getattr(item, "role", None), said or None
