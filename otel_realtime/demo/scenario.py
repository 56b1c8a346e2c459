"""What the scripted Realtime server hears and says: data only.

The server works out by itself *when* things happen (voice activity, pace, barge-ins); a scenario
says *what*: the words it hears in the user's n-th utterance and its n-th answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from otel_realtime.demo.speech import Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function the model calls.

    Attributes:
        arguments: JSON text, sent in pieces as the model would.
    """

    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response of the model: something said, functions called, or first the one, then the other.

    Attributes:
        text: the words; sent as transcript of the audio, or as text in a text session.
        pcm: the sound of them (PCM16 mono 24 kHz).
        calls: functions called after that.
        status: how the response ends when nothing cancels it: ``completed``, ``incomplete`` or ``failed``.
        status_details: ``response.status_details`` in that case.
    """

    text: str = ""
    pcm: bytes = b""
    calls: tuple[Call, ...] = ()
    status: str = "completed"
    status_details: Mapping[str, Any] | None = None

    @classmethod
    def saying(cls, utterance: Utterance) -> Answer:
        """An answer that speaks ``utterance``."""
        return cls(text=utterance.text, pcm=utterance.pcm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A conversation as the server plays it.

    Attributes:
        heard: words of the user's n-th spoken utterance; past its end it starts over.
        answers: the n-th response; past its end it starts over.
        turn_detection: changes to the session's default turn detection.
        answer_delay_ms: from ``response.created`` to the first output.
        audio_pace: audio sent per second of time; the service sends about 5 s in a second.
        delta_ms: audio in one delta.
        transcription_delay_ms: from the commit of an utterance to the first word of its transcript.
        transcription_fails: the transcription ends in ``.failed`` instead.
        rate_limits: send ``rate_limits.updated`` after each response.
    """

    heard: tuple[str, ...] = ("Hello.",)
    answers: tuple[Answer, ...] = (Answer(text="Hello."),)
    model: str = "gpt-realtime"
    voice: str = "marin"
    instructions: str = "You are a friendly assistant. Answer briefly."
    turn_detection: Mapping[str, Any] = field(default_factory=dict)
    answer_delay_ms: int = 300
    audio_pace: float = 5.0
    delta_ms: int = 250
    transcription_delay_ms: int = 350
    transcription_fails: bool = False
    rate_limits: bool = True

    def answer(self, number: int) -> Answer:
        """The answer of the ``number``-th response (from 0)."""
        return self.answers[number % len(self.answers)]

    def words(self, number: int) -> str:
        """What is heard in the ``number``-th utterance (from 0)."""
        return self.heard[number % len(self.heard)]
