"""What real clients do when the user breaks in, and what they tell of their player."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.simulation.player import Sounded


@dataclass(frozen=True)
class Moment:
    """What a client knows when ``speech_started`` comes.

    Attributes:
        at: now, ms.
        item: the item that it takes to be playing: the last one that arrived, or the one it hears.
        first_at: arrival of that item's first audio.
        received: ms of it that have arrived.
        played: ms of it that have come out of the speaker.
    """

    at: float
    item: str
    first_at: float
    received: float
    played: float


Claim = Callable[[Moment], "int | None"]


@dataclass(frozen=True)
class Style:
    """One kind of client.

    Attributes:
        claim: ``audio_end_ms`` of its truncate; None: it sends none.
        knows_player: it takes the item that really plays, not the last one that arrived.
        flushes: it stops its player.
        tap: ``played``, ``marks``, ``audio``, ``audio+items``, or nothing.
        reaction: ms from ``speech_started`` until its player is silent, at least and at most.
        deletes: it deletes an item of which nothing was played.
        listens: the server listens for speech (no push to talk).
    """

    name: str
    claim: Claim = lambda moment: None
    knows_player: bool = True
    flushes: bool = True
    tap: str = ""
    reaction: tuple[float, float] = (0.0, 20.0)
    deletes: bool = False
    listens: bool = True


def _elapsed(moment: Moment) -> int:
    return int(moment.at - moment.first_at)


def _clamped(moment: Moment) -> int | None:
    elapsed = _elapsed(moment)
    return None if elapsed >= moment.received else elapsed


STYLES: Sequence[Style] = (
    Style("console: worklet's sample count", lambda m: int(m.played)),
    Style("push-to-talk app: cancel, plays on", flushes=False, listens=False),
    Style("agents: wall clock", _clamped, knows_player=False),
    Style("agents: playback tracker", lambda m: int(m.played), tap="played"),
    Style("twilio: marks by the helper", tap="marks", reaction=(40.0, 80.0)),
    Style("twilio: marks, agents claim", lambda m: int(m.played // 250 * 250), tap="marks"),
    Style("twilio: inbound clock", _elapsed, knows_player=False, reaction=(40.0, 80.0)),
    Style(
        "pipecat: wall clock or received",
        lambda m: int(min(_elapsed(m), m.received)),
        knows_player=False,
    ),
    Style("livekit: playout position", lambda m: int(m.played) or None, deletes=True),
    Style("pydantic-ai: caller's played_ms", lambda m: int(m.played), reaction=(0.0, 60.0)),
    Style("stop at speech_started, no word"),
    Style("speaker's buffers", tap="audio"),
    Style("speaker's buffers, with items", lambda m: int(m.played), tap="audio+items"),
)


def playing(heard: Sequence[Sounded], at: float) -> Sounded | None:
    """What comes out of the speaker, or would come next."""
    return next((one for one in heard if one.end > at), None)
