"""Reads the audio records of the journal, which ``core.audio.timeline`` lists.

A record is returned with as many fields as this version knows, of the types they must have. So a
record that a disk or a later version spoiled affects only itself: the measurements and the rendered
recording leave out the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from otel_realtime.core.audio.formats import NS_PER_MS, parse_format
from otel_realtime.core.audio.player_buffer import MOST_NS
from otel_realtime.core.audio.segments import LOST
from otel_realtime.state.journal import LATEST_NS

#: No single record refers to more bytes.
MOST_BYTES: Final = 1 << 30
_MOST_MS: Final = 10**12
_MOST_OFFSET: Final = 1 << 53


def _is_offset(value: object) -> bool:
    return type(value) is int and LOST <= value < _MOST_OFFSET


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value <= MOST_BYTES


def _is_index(value: object) -> bool:
    return type(value) is int


def _is_ms(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MOST_MS


def _is_buffer(value: object) -> bool:
    return type(value) is int and 0 <= value <= MOST_NS // NS_PER_MS


def _is_ms_or_none(value: object) -> bool:
    return value is None or _is_ms(value)


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= _MOST_MS  # type: ignore[operator]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_side(value: object) -> bool:
    return value in ("user", "agent")


def _is_ns(value: object) -> bool:
    return type(value) is int and 0 <= value < LATEST_NS


def _is_format(value: object) -> bool:
    return parse_format(value) is not None


def _is_anything(value: object) -> bool:
    return True


_Rule = Callable[[object], bool]
#: The fields after ``[kind, t``: those that are required, then those that are optional.
_FIELDS: Final[Mapping[str, tuple[tuple[_Rule, ...], tuple[_Rule, ...]]]] = {
    "buffered": ((_is_buffer,), ()),
    "user": ((_is_offset, _is_size), (_is_anything,)),
    "agent": (
        (_is_offset, _is_size, _is_text, _is_index),
        (_is_text_or_none, _is_ms_or_none),
    ),
    "format": ((_is_side, _is_format), ()),
    "hole": ((_is_side, _is_size), ()),
    "truncate": ((_is_text, _is_index, _is_ms), (_is_text_or_none,)),
    "truncated": ((_is_text, _is_index, _is_ms), ()),
    "delete": ((_is_text,), (_is_text_or_none,)),
    "deleted": ((_is_text,), ()),
    "refused": ((_is_text_or_none, _is_text_or_none), ()),
    "speech": ((_is_anything,), (_is_ms_or_none, _is_text_or_none, _is_ms_or_none)),
    "speech_end": ((_is_ms,), (_is_text_or_none, _is_ms_or_none)),
    "item": ((_is_text, _is_text_or_none, _is_anything, _is_size), ()),
    "tokens": ((_is_text, _is_size), ()),
    "buffer": ((_is_text,), (_is_text_or_none,)),
    "clear": ((), ()),
    "cancel": ((), ()),
    "flushed": ((), ()),
    "tap": ((_is_side, _is_offset, _is_size), (_is_text_or_none, _is_anything)),
    "tap_format": ((_is_side, _is_format), ()),
    "played": ((_is_text, _is_index, _is_number), ()),
    "commit": ((_is_text,), (_is_text_or_none,)),
    "reset": ((), ()),
    "pause": ((), ()),
    "resume": ((), ()),
    # A redaction applies even if parts are unreadable: an invalid side means both sides.
    "redact": ((_is_ns, _is_ns), (_is_anything, _is_anything, _is_anything)),
    "spoken": ((_is_side, _is_text, _is_ns, _is_ns), (_is_ms_or_none, _is_ms_or_none, _is_ms)),
    "words": ((_is_side, _is_text), (_is_ms_or_none, _is_ms_or_none, _is_anything)),
    "given": ((), ()),
    "leap": ((), ()),
    "lost": ((), ()),
    "regained": ((), ()),
    "close": ((), (_is_anything,)),
}
#: The kinds for which the timeline needs every field.
_WHOLE: Final = frozenset({"agent", "truncate", "delete", "buffer", "words"})
_RULES: Final = {
    kind: (len(required), (*required, *optional)) for kind, (required, optional) in _FIELDS.items()
}


def read_sound(record: list[Any]) -> list[Any] | None:
    """Read one audio record; return ``None`` if this version does not know its kind.

    Raises:
        ValueError: it is not valid.
    """
    kind, given = record[0], len(record) - 2
    # Nearly all records are audio: valid ones are returned without a call per field.
    if kind == "agent" and given == 5:
        _, _, offset, size, item, index, response = record
        if (
            type(offset) is int
            and type(size) is int
            and type(index) is int
            and LOST <= offset < _MOST_OFFSET
            and 0 <= size <= MOST_BYTES
            and isinstance(item, str)
            and (response is None or isinstance(response, str))
        ):
            return record
    elif kind == "user" and 2 <= given <= 3:
        offset, size = record[2], record[3]
        if (
            type(offset) is int
            and type(size) is int
            and LOST <= offset < _MOST_OFFSET
            and 0 <= size <= MOST_BYTES
        ):
            return record
    known = _RULES.get(kind)
    if known is None:
        return None
    required, rules = known
    if given < required:
        raise ValueError(f"a record {record[0]!r} lacks a field")
    for value, rule in zip(record[2:], rules, strict=False):
        if not rule(value):
            raise ValueError(f"a record {record[0]!r} makes no sense: {str(value)[:200]}")
    if given > len(rules):
        return record[: 2 + len(rules)]
    if given < len(rules) and record[0] in _WHOLE:
        return [*record, *[None] * (len(rules) - given)]
    return record
