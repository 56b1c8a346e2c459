"""What the app itself knows of the sound: what its speaker plays, what its microphone hears.

Callable from an audio thread: a call copies its buffer and queues it, and never waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_realtime import guard
from otel_realtime.core.formats import MULAW, PCM

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from otel_realtime.clock import Clock
    from otel_realtime.recording.recorder import Recorder

LONGEST_MS: Final = 1e9
"""No item plays longer than this."""


class AudioTaps:
    """The part of a conversation that takes the app's word for what was played and heard."""

    _recorder: Recorder | None
    _closed: bool
    _clock: Clock

    def record_agent_audio(
        self,
        pcm: Buffer,
        *,
        item_id: str | None = None,
        rate: int | None = None,
        at_ns: int | None = None,
    ) -> None:
        """Report what the speaker plays now: call it where the buffer goes to the device.

        From the first call on this, and not a model of a player, is the agent's side of the
        recording. If calls run more than a second ahead of the clock they are not playback: one
        warning, and the model again. If none comes for two seconds while audio is due, the model
        stands in until the next.

        Args:
            pcm: 16-bit mono samples in any buffer; it is copied. Zeros are silence.
            item_id: the conversation item that it belongs to, if known.
            rate: samples per second; None: the session's own output rate.
            at_ns: when, as in ``received``; None: now.
        """
        self._give("agent", pcm, rate, PCM, item_id, at_ns)

    def record_user_audio(
        self, pcm: Buffer, *, rate: int | None = None, at_ns: int | None = None
    ) -> None:
        """Report what the microphone has just heard: call it where the buffer comes from the device.

        From the first call on this, and not what is sent, is the user's side of the recording.

        Args:
            pcm: 16-bit mono samples in any buffer; it is copied.
            rate: samples per second; None: the session's own input rate.
            at_ns: when, as in ``received``; None: now.
        """
        self._give("user", pcm, rate, PCM, None, at_ns)

    def record_user_mulaw(self, audio: Buffer, *, at_ns: int | None = None) -> None:
        """``record_user_audio`` for telephony: G.711 mu-law at 8 kHz, kept as it is."""
        self._give("user", audio, 8_000, MULAW, None, at_ns)

    def played(
        self, item_id: str, content_index: int, audio_ms: float, *, at_ns: int | None = None
    ) -> None:
        """Report how much of an item has been played, from its beginning, as in ``audio_end_ms``.

        Positions only rise: a lower one than before says nothing. The same limits hold as for
        ``record_agent_audio``.

        Args:
            item_id: the item that plays.
            content_index: its content part.
            audio_ms: position in it, milliseconds.
            at_ns: when, as in ``received``; None: now.
        """
        recorder = self._recorder
        if self._closed or recorder is None:
            return
        try:
            position = float(audio_ms)
            if 0 < position <= LONGEST_MS:  # neither NaN nor nonsense
                recorder.played(self._tap_t(at_ns), str(item_id), int(content_index), position)
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            guard.fault("played", error)

    def _give(
        self,
        side: str,
        audio: Buffer,
        rate: int | None,
        encoding: str,
        item_id: str | None,
        at_ns: int | None,
    ) -> None:
        recorder = self._recorder
        if self._closed or recorder is None:
            return
        try:
            from otel_realtime.recording.track import TapAudio

            given = TapAudio(bytes(memoryview(audio)), rate, encoding, item_id)
            recorder.tap(self._tap_t(at_ns), side, given)
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            guard.fault(f"record_{side}_audio", error)

    def _tap_t(self, at_ns: int | None) -> int:
        return self._clock.t() if at_ns is None else self._clock.moment(at_ns).t
