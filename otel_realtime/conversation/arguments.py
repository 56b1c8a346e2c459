"""Reads the app's arguments about audio and time, or refuses them with one log line.

A wrong argument is the app's mistake, so it neither counts as a fault of this package nor raises into
the app. It is logged once per kind of mistake, and what it referred to is left out. Lost audio is counted.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final

from otel_realtime import diagnostics
from otel_realtime.clock import REPLAY_NS
from otel_realtime.diagnostics import logger_of
from otel_realtime.interrupts import let_through

if TYPE_CHECKING:
    from otel_realtime.conversation.engine import Engine
    from otel_realtime.recording.track import TapAudio

logger = logger_of(__name__)

#: Highest position that ``played()`` accepts, in ms (11 days).
MAX_PLAYED_MS: Final = 1e9
#: Maximum number of content parts in an item.
MAX_PARTS: Final = 1_000
#: Range of sample rates that an audio device can have, in Hz.
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 384_000
#: Latest time that a span can have, in epoch ns.
LATEST_NS: Final = 2**63 - 1
#: Range of valid times of a call, in epoch ns (1973 to 2103). A number outside is in another unit or is
#: not a time.
FIRST_CALL_NS, LAST_CALL_NS = 10**17, 42 * 10**17


class Refused(ValueError):
    """An argument cannot be used; the text says why, and what to pass instead."""


def refuse(function: str, problem: str, what: str) -> None:
    """Log a mistake of the app, once for each kind.

    Args:
        function: The public method.
        problem: What is wrong with its argument, and what to pass instead.
        what: What the consequence is.
    """
    diagnostics.warn_once(
        ("argument", function, problem[:200]), "%s: %s; %s", function, problem, what, log=logger
    )


def number(value: object, name: str) -> int | float:
    """Return a number that the app passed, in any numeric type of its libraries.

    Raises:
        Refused: It is not a number, or not finite.
    """
    kind = f"{name} is of type {type(value).__name__}"
    if isinstance(value, bool):
        raise Refused(f"{kind}; pass a number")
    if type(value) is int:
        return value
    try:
        if hasattr(value, "__index__"):
            return int(value.__index__())
        found = float(value)  # type: ignore[arg-type]
    except BaseException as error:  # the object's own methods may raise anything
        let_through(error)
        raise Refused(f"{kind}; pass a number") from error
    if not math.isfinite(found):
        raise Refused(f"{name} is not finite; pass a number")
    return found


def tapped(audio: object, rate: object, item_id: object) -> TapAudio:
    """Return audio that the app captures or plays, as 16-bit mono samples.

    Args:
        audio: See ``recording.buffers``.
        rate: Samples per second; None means the session's rate.
        item_id: The item that the audio belongs to; anything but a string is ignored.

    Raises:
        Refused: The audio or the rate cannot be used.
    """
    from otel_realtime.recording.buffers import RefusedAudio, as_pcm16  # imports numpy
    from otel_realtime.recording.track import TapAudio

    rate_hz = None if rate is None else round(number(rate, "rate"))
    if rate_hz is not None and not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise Refused(
            f"rate is not between {MIN_RATE_HZ} and {MAX_RATE_HZ}; pass samples per second"
        )
    try:
        raw = as_pcm16(audio)
    except RefusedAudio as refused:
        raise Refused(str(refused)) from refused
    return TapAudio(raw, rate_hz, item_id=item_id if isinstance(item_id, str) else None)


def tapped_mulaw(audio: object) -> TapAudio:
    """Return the user's telephony audio unchanged, as mu-law at 8 kHz.

    Raises:
        Refused: It is not a buffer of bytes.
    """
    from otel_realtime.core.audio.formats import MULAW
    from otel_realtime.recording.buffers import RefusedAudio, as_bytes  # imports numpy
    from otel_realtime.recording.track import TapAudio

    try:
        return TapAudio(as_bytes(audio), 8_000, MULAW)
    except RefusedAudio as refused:
        raise Refused(str(refused)) from refused


def position(item_id: object, content_index: object, audio_ms: object) -> tuple[str, int, float]:
    """Return the validated item, content part and position (ms) of ``played``.

    Raises:
        Refused: One of them cannot be used.
    """
    if not isinstance(item_id, str):
        raise Refused(f"item_id is of type {type(item_id).__name__}; pass the item's id")
    index, at_ms = number(content_index, "content_index"), number(audio_ms, "audio_ms")
    if not (0 <= index < MAX_PARTS and index == int(index)):
        raise Refused("content_index is no index of a content part")
    if not 0 <= at_ms <= MAX_PLAYED_MS:
        raise Refused("audio_ms is no position in an item; pass milliseconds")
    return item_id, int(index), float(at_ms)


def wall_time(engine: Engine, at_ns: Any, function: str) -> int | None:
    """Return the app's time in epoch ns, or None if it gave none or an implausible one.

    An implausible time is counted on the root, like a jump.
    """
    if at_ns is None:
        return None
    try:
        found = at_ns if type(at_ns) is int else number(at_ns, "at_ns")
        # A span's time must be an integer of 64 bits.
        at_ns = int(min(max(found, 0), LATEST_NS))
        if not engine.clock.uses_app_times and not FIRST_CALL_NS <= at_ns <= LAST_CALL_NS:
            raise Refused("at_ns is no time of a call; pass epoch ns, as time.time_ns() returns")
    except Refused as refused:
        refuse(function, str(refused), "the time is taken to be that of the event before, or now")
        engine.clock.refuse()
        return None
    return int(at_ns)


def recording_time(engine: Engine, at_ns: Any, function: str) -> int:
    """Return the app's time on the recording's clock, in ns since the start.

    In a live call whose events have no app times, the given time only says how long ago something
    happened. Otherwise the app's times are the clock.
    """
    clock, given_ns = engine.clock, wall_time(engine, at_ns, function)
    if given_ns is None:
        return clock.t()
    if not clock.uses_app_times:
        ago_ns = time.time_ns() - given_ns
        if abs(ago_ns) <= REPLAY_NS:
            return max(clock.t() - max(ago_ns, 0), 0)
        engine.frames.start_reported(given_ns)
    return clock.moment(given_ns).t
