"""Determines the time of each row of a log: the logged time, or a modelled one.

The model gives these times to a log that has none:

- Audio of the user takes its real length, starting at the first append of a turn. Server events keep
  their position between the appends.
- Audio of the agent also takes its real length: chunks arrive as fast as they are heard.
- Audio that was cut out of the log (only a few bytes of each chunk are left) takes the length of the
  file beside the log, divided evenly; without a file, each chunk takes 100 ms.
- ``response.created`` comes 250 ms after the event or audio before it, every other event 5 ms.

In a log that has times, a row without one gets the time of the row before.
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

#: Length of a chunk whose audio is missing, ms.
CHUNK_MS: Final = 100
#: Time from the event or audio before it to ``response.created``, and to any other event, ms.
RESPONSE_MS: Final = 250
EVENT_MS: Final = 5
#: If no chunk has more base64 characters, the audio was cut: a real chunk has at least 20 ms.
_CUT_CHARACTERS: Final = 100
#: Keys of the audio formats in a beta session; a GA session has them in its ``audio`` object.
_BETA_KEYS: Final[Mapping[str, str]] = {
    "input": "input_audio_format",
    "output": "output_audio_format",
}


@dataclass(slots=True)
class Survey:
    """Facts of a log, which is read once before it is replayed.

    Attributes:
        bad: the lines that are not events.
        times_ms: the time of each row, ms since the first one; bad lines have none.
        received: number of events from the server.
        sent: number of events from the client.
        user_chunks: number of chunks of the user's audio.
        agent_chunks: number of chunks of the agent's audio.
        cut: the sides, ``user`` and ``agent``, whose audio was cut out of the log.
        timed: whether the log has times.
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
        """Length of the log, ms."""
        return self.times_ms[-1] if self.times_ms else 0.0


def survey(
    rows: Iterable[Row | BadRow], *, user_ms: float | None = None, agent_ms: float | None = None
) -> Survey:
    """Read a whole log and return its facts.

    Args:
        rows: its rows.
        user_ms: length of the user's audio beside it, ms; None without.
        agent_ms: length of the agent's audio beside it, ms; None without.
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
    """Return the logged times from 0 on; a missing or earlier time becomes that of the row before."""
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
    """The time that a row takes: a fixed wait, or the length of its audio, ms."""

    wait_ms: float
    side: str | None = None
    talk_ms: float = 0.0
    answering: bool = False


class _Model:
    """Computes times for rows that have none."""

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
            # A Live session has one format for both directions.
            given = object_or_empty(audio.get(way)).get(
                "format", session.get(beta, audio.get("format"))
            )
            parsed: AudioFormat | None = parse_format(given)
            if parsed is not None:
                self._formats[way] = parsed

    def times(self, share: Mapping[str, float]) -> array[float]:
        """Return the times of all rows, ms.

        Args:
            share: length of a chunk, ms, for each side whose audio is not in the log.
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
            # A new turn begins at the current time; during an answer the microphone just continues.
            if not step.answering:
                spoken = max(spoken, now)
            spoken += length_ms
            now = max(now, spoken)
            found.append(now)
        return found
