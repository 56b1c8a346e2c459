"""When each row of a log was: as the log says, or as a model has it.

A log without times is given these:

- Audio of the user takes as long as it is, from the first append of a turn on; meanwhile the server's
  events come where the log has them between the appends.
- Audio of the agent takes as long as it is, too: chunks come as fast as they are heard.
- Audio that was cut out of the log (a few bytes are left of each chunk) takes as long as the file
  beside the log says, shared out evenly; without a file a chunk takes 100 ms.
- ``response.created`` comes 250 ms after what asked for it, every other event 5 ms after the one before.

Rows without a time in a log that has times are as late as the row before.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from otel_realtime.core.audio.formats import NS_PER_MS, PCM16, AudioFormat, parse_format
from otel_realtime.core.protocol.dialects import is_agent_audio, is_user_audio
from otel_realtime.core.protocol.json_values import object_or_empty
from otel_realtime.replaying.log import BadRow, Row

#: Length of a chunk whose audio is not there.
CHUNK_MS: Final = 100
#: From what asks for a response to ``response.created``, and from any event to the next.
RESPONSE_MS: Final = 250
EVENT_MS: Final = 5
#: Audio of at most so many base64 characters was cut: a real chunk has 20 ms at least.
_CUT_CHARACTERS: Final = 100
#: Keys under which a session names the formats: GA by object, beta by name.
_BETA_KEYS: Final[Mapping[str, str]] = {
    "input": "input_audio_format",
    "output": "output_audio_format",
}


@dataclass(slots=True)
class Survey:
    """What a log holds, read once before it is replayed.

    Attributes:
        bad: the lines that are no events.
        times_ms: when each row was, ms since the first one; without the bad ones.
        received: events of the server.
        sent: events of the client.
        user_chunks: chunks of the user's audio, and ``agent_chunks`` of the agent's.
        cut: the sides, ``user`` and ``agent``, whose audio was cut out of the log.
        timed: the log says when its rows were.
    """

    bad: list[BadRow] = field(default_factory=list)
    times_ms: array[float] = field(default_factory=lambda: array("d"))
    received: int = 0
    sent: int = 0
    user_chunks: int = 0
    agent_chunks: int = 0
    cut: frozenset[str] = frozenset()
    timed: bool = False

    @property
    def events(self) -> int:
        """Number of events."""
        return self.received + self.sent

    @property
    def duration_ms(self) -> float:
        """Length of the log."""
        return self.times_ms[-1] if self.times_ms else 0.0


def survey(
    rows: Iterable[Row | BadRow], *, user_ms: float | None = None, agent_ms: float | None = None
) -> Survey:
    """Read a log through.

    Args:
        rows: its rows.
        user_ms: length of the user's audio beside it; None without.
        agent_ms: the same of the agent's.
    """
    found, model = Survey(), _Model()
    given = array("d")
    longest = {"user": 0, "agent": 0}
    for row in rows:
        if isinstance(row, BadRow):
            found.bad.append(row)
            continue
        found.sent += row.sent
        found.received += not row.sent
        if row.t_ms is not None:
            found.timed = True
        given.append(-1.0 if row.t_ms is None else row.t_ms)
        found.user_chunks += is_user_audio(row.kind)
        found.agent_chunks += is_agent_audio(row.kind)
        side = "user" if is_user_audio(row.kind) else "agent"
        longest[side] = max(longest[side], len(_audio(row)))
        model.add(row)
    chunks = {"user": found.user_chunks, "agent": found.agent_chunks}
    found.cut = frozenset(
        side for side, count in chunks.items() if count and longest[side] <= _CUT_CHARACTERS
    )
    if found.timed:
        found.times_ms = _given(given)
    else:
        lengths = {"user": user_ms, "agent": agent_ms}
        found.times_ms = model.times(
            {side: _share(lengths[side], chunks[side]) for side in found.cut}
        )
    return found


def _given(times: array[float]) -> array[float]:
    """Return times as the log gives them: none is before the one before it."""
    first = next(time for time in times if time >= 0)
    reached, found = 0.0, array("d")
    for time in times:
        reached = max(reached, time - first)
        found.append(reached)
    return found


def _share(length_ms: float | None, chunks: int) -> float:
    return CHUNK_MS if length_ms is None or not chunks else length_ms / chunks


def _audio(row: Row) -> str:
    key = "audio" if is_user_audio(row.kind) else "delta" if is_agent_audio(row.kind) else ""
    value = row.event.get(key) if key else None
    return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class _Step:
    """What a row adds to the time: a fixed wait, or audio of a side with its length, ms."""

    wait_ms: float
    side: str | None = None
    talk_ms: float = 0.0
    answering: bool = False


class _Model:
    """Gives times to rows that have none."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._formats = {"input": PCM16, "output": PCM16}
        self._answering = False

    def add(self, row: Row) -> None:
        """Add the next row."""
        if is_user_audio(row.kind):
            self._talk("user", "input", row)
        elif is_agent_audio(row.kind):
            self._talk("agent", "output", row)
        else:
            self._session(object_or_empty(row.event.get("session")))
            created = row.kind == "response.created"
            self._answering = created or (self._answering and row.kind != "response.done")
            self._steps.append(_Step(RESPONSE_MS if created else EVENT_MS))

    def _talk(self, side: str, way: str, row: Row) -> None:
        text = _audio(row)
        size = len(text) * 3 // 4 - text.count("=", -2)
        length_ms = self._formats[way].duration_ns(size) / NS_PER_MS
        self._steps.append(_Step(0.0, side, length_ms, self._answering))

    def _session(self, session: Mapping[str, Any]) -> None:
        audio = object_or_empty(session.get("audio"))
        for way, beta in _BETA_KEYS.items():
            # A Live session has one format for both.
            given = object_or_empty(audio.get(way)).get(
                "format", session.get(beta, audio.get("format"))
            )
            parsed: AudioFormat | None = parse_format(given)
            if parsed is not None:
                self._formats[way] = parsed

    def times(self, share: Mapping[str, float]) -> array[float]:
        """Return the times of all rows, ms.

        Args:
            share: length of a chunk of each side whose audio is not in the log.
        """
        found, now, spoken = array("d"), 0.0, 0.0
        for step in self._steps:
            if step.side is None:
                now += step.wait_ms if found else 0.0
                found.append(now)
                continue
            length_ms = share.get(step.side, step.talk_ms)
            if step.side == "agent":
                found.append(now)
                now += length_ms
                continue
            if (
                not step.answering
            ):  # a new turn begins where the time is; else the microphone went on
                spoken = max(spoken, now)
            spoken += length_ms
            now = max(now, spoken)
            found.append(now)
        return found
