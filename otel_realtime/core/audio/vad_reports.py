"""When the user speaks, as the server's VAD reports it.

``speech_started`` names where the audio that is given to the model begins, and ``speech_stopped`` where it
ends. With server VAD that includes ``prefix_padding_ms`` before the speech and ``silence_duration_ms``
after it, which the session knows. Semantic VAD has no fixed padding, so the speech is only known to be
somewhere within. If a server reports speech at all, its silence means that the user does not speak: what
a microphone picks up of the agent or of the room is not the user's talk. The exception is an item that
the server commits without a report: the audio appended for it is judged by its energy.

Positions count all audio that was appended; if none was, they are times
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
        prefix_ms: The padding before the speech; None if unknown.
        end_ns: Where it ends, padding included; None as long as the user speaks.
        silence_ms: The padding after the speech; None if unknown.
    """

    item_id: str | None
    start_ns: int
    prefix_ms: int | None
    end_ns: int | None = None
    silence_ms: int | None = None

    @property
    def speech(self) -> tuple[int | None, int | None]:
        """Where the speech itself begins and ends; None for an edge not known to within 150 ms."""
        start = end = None
        # At the very beginning of the audio, less than the padding precedes the speech.
        if self.prefix_ms is not None and self.start_ns > 0:
            start = self.start_ns + self.prefix_ms * NS_PER_MS
        if self.silence_ms is not None and self.end_ns is not None:
            end = self.end_ns - self.silence_ms * NS_PER_MS
        if end is not None and end <= (self.start_ns if start is None else start):
            return None, None  # implausible paddings
        return start, end


@dataclass(frozen=True, slots=True)
class Reported:
    """One utterance in the recording; times in ns since the start.

    Attributes:
        within: The interval that contains it, padding included.
        start: When the speech itself begins; None if it is not known to within 150 ms.
        end: When the speech itself ends; None likewise.
    """

    within: Interval
    start: int | None
    end: int | None


class VadReports:
    """The reports of a call, and the committed stretches without a report.

    Attributes:
        reports: The utterances in order.
        unheard: Stretches of the audio that were committed although no speech was reported.
        silent_from: The sessions in which the server's silence counts, because it reported speech: their
            start and end times. The end is None while the session lasts.
    """

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.unheard: list[Interval] = []
        self.silent_from: list[tuple[int, int | None]] = []
        self._by_item: dict[str, Report] = {}
        self._session_t = 0
        self._boundary_ns = 0  # end of the latest item
        self._reported = False  # whether speech was reported since then

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
        """Apply a commit, by the client or the server, of the audio appended up to a position."""
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
        """Return the report of an item; None if there is none."""
        return self._by_item.get(item_id)

    def _open(self) -> Report | None:
        last = self.reports[-1] if self.reports else None
        return last if last is not None and last.end_ns is None else None
