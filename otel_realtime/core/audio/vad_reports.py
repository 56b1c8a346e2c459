"""Where the server's VAD says that the user speaks.

``speech_started`` names where the audio begins that the model is given, ``speech_stopped`` where it
ends. With server VAD that includes ``prefix_padding_ms`` before the speech and ``silence_duration_ms``
after it, which the session knows; semantic VAD has no fixed padding, and the speech is only somewhere
within. A server that reports speech says by its silence, too, that nobody speaks: what a microphone
picks up of the agent or of the room is not the user's talk. An item that it commits without a report is
an exception: what was appended for it is judged by its energy.

Positions count all audio that was appended; without any they are times
(:mod:`otel_realtime.core.audio.session_clock`).

Source: https://platform.openai.com/docs/api-reference/realtime-server-events/input_audio_buffer/speech_started
"""

from __future__ import annotations

from dataclasses import dataclass

from otel_realtime.core.audio.formats import NS_PER_MS
from otel_realtime.core.audio.segments import Interval


@dataclass(slots=True)
class Report:
    """One utterance.

    Attributes:
        item_id: Its item; None if the server did not name it.
        start_ns: Where the model's audio begins, padding included.
        prefix_ms: The padding before the speech; None if it is unknown.
        end_ns: Where it ends, padding included; None as long as the user speaks.
        silence_ms: The padding after the speech; None if it is unknown.
    """

    item_id: str | None
    start_ns: int
    prefix_ms: int | None
    end_ns: int | None = None
    silence_ms: int | None = None

    @property
    def speech(self) -> tuple[int | None, int | None]:
        """Where the speech itself begins and ends; None for what is not known to 150 ms."""
        start = end = None
        # At the very beginning of the audio there is less before the speech than the padding.
        if self.prefix_ms is not None and self.start_ns > 0:
            start = self.start_ns + self.prefix_ms * NS_PER_MS
        if self.silence_ms is not None and self.end_ns is not None:
            end = self.end_ns - self.silence_ms * NS_PER_MS
        if end is not None and end <= (self.start_ns if start is None else start):
            return None, None  # paddings that cannot be
        return start, end


@dataclass(frozen=True, slots=True)
class Reported:
    """One utterance in the recording; times in ns since the start.

    Attributes:
        within: Where it lies, padding included.
        start: When the speech itself begins; None if it is not known to 150 ms.
        end: The same of its end.
    """

    within: Interval
    start: int | None
    end: int | None


class VadReports:
    """The reports of a call, and the stretches without one.

    Attributes:
        reports: The utterances in order.
        unheard: Stretches of the audio that were committed although no speech was reported.
        silent_from: Since when the server's silence counts, session by session, as times: the
            beginnings of sessions with reports, each with the session's end, None for the last.
    """

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.unheard: list[Interval] = []
        self.silent_from: list[tuple[int, int | None]] = []
        self._by_item: dict[str, Report] = {}
        self._session_t = 0
        self._boundary_ns = 0  # the end of the latest item
        self._reported = False  # since then

    def started(self, item_id: str | None, position_ns: int, prefix_ms: int | None) -> None:
        """Apply ``speech_started``."""
        if not self.silent_from or self.silent_from[-1][0] != self._session_t:
            self.silent_from.append((self._session_t, None))
        self._reported = True
        report = None if item_id is None else self._by_item.get(item_id)
        if report is None:
            report = Report(item_id, position_ns, prefix_ms)
            self.reports.append(report)
            if item_id is not None:
                self._by_item[item_id] = report

    def stopped(self, item_id: str | None, position_ns: int, silence_ms: int | None) -> None:
        """Apply ``speech_stopped``."""
        report = self._by_item.get(item_id) if item_id is not None else self._open()
        if report is not None:
            report.end_ns = max(position_ns, report.start_ns)
            report.silence_ms = silence_ms

    def committed(self, position_ns: int) -> None:
        """Apply a commit, by the client or by the server, of what was appended up to a position."""
        report = self._open()
        if report is not None:
            report.end_ns = max(position_ns, report.start_ns)
        if not self._reported and position_ns > self._boundary_ns:
            self.unheard.append((self._boundary_ns, position_ns))
        self._reported = False
        self._boundary_ns = max(self._boundary_ns, position_ns)

    def reset(self, t: int) -> None:
        """Begin a new server session at ``t``."""
        if self.silent_from and self.silent_from[-1][1] is None:
            self.silent_from[-1] = (self.silent_from[-1][0], t)
        self._session_t = t
        self._reported = False

    def of(self, item_id: str) -> Report | None:
        """Return the report of an item."""
        return self._by_item.get(item_id)

    def _open(self) -> Report | None:
        last = self.reports[-1] if self.reports else None
        return last if last is not None and last.end_ns is None else None
