"""Defines what the scripted Realtime server transcribes and answers; contains only data.

The server decides *when* things happen (voice activity, pacing, barge-ins). A scenario defines *what*
happens: the transcript of the user's n-th utterance, and the model's n-th response.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from otel_realtime.demo.speech import Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function call of the model.

    Attributes:
        name: the function.
        arguments: JSON text, sent in deltas as the service does.
    """

    name: str
    #: Not a dict: a scenario may contain arguments that are not valid JSON.
    arguments: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class McpCall:
    """A call of an MCP tool, which the server runs itself.

    Attributes:
        server_label: the MCP server, as the session names it.
        name: the tool.
        arguments: JSON text.
        output: what the tool returns.
        takes_ms: how long it runs.
    """

    server_label: str
    name: str
    arguments: str = "{}"
    output: str = ""
    takes_ms: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response of the model: a message, calls, or a message followed by calls.

    Attributes:
        text: the words, sent as the transcript of the audio, or as text in a text session.
        pcm: the audio (PCM16 mono at 24 kHz).
        calls: functions called after the message.
        mcp_calls: MCP tools called after that. If the session requires approval, the response
            requests it, and the call is a response of its own.
        approved_by: id of the ``mcp_approval_request`` that allowed ``mcp_calls``; None: no request.
        status: how the response ends unless it is cancelled: ``completed``, ``incomplete`` or
            ``failed``.
        status_details: ``response.status_details`` of a response that is not ``completed``.
    """

    text: str = ""
    pcm: bytes = b""
    calls: tuple[Call, ...] = ()
    mcp_calls: tuple[McpCall, ...] = ()
    approved_by: str | None = None
    status: str = "completed"
    status_details: Mapping[str, Any] | None = None

    @classmethod
    def from_utterance(cls, utterance: Utterance) -> Answer:
        """Return an answer that speaks ``utterance``."""
        return cls(text=utterance.text, pcm=utterance.pcm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A conversation as the server plays it.

    Attributes:
        user_transcripts: the transcript of each user utterance; starts over at the end.
        answers: the model's responses in order; starts over at the end.
        out_of_band_answers: the out-of-band responses in order; starts over at the end; if empty, these
            responses also come from ``answers``.
        mcp_tools: the tools of each MCP server, as ``mcp_list_tools`` items show them.
        model: the model, unless the client names one.
        voice: the default voice.
        instructions: the default instructions.
        turn_detection: overrides of the session's default turn detection.
        answer_delay_ms: from ``response.created`` to the first output.
        audio_pace: seconds of audio sent per second; the service sends about 5.
        delta_ms: audio in one delta.
        transcription_delay_ms: from the commit of an utterance to the first transcript delta.
        transcription_fails: end each transcription with ``.failed`` instead of ``.completed``.
        rate_limits: send ``rate_limits.updated`` after each response.
    """

    user_transcripts: tuple[str, ...] = ("Hello.",)
    answers: tuple[Answer, ...] = (Answer(text="Hello."),)
    out_of_band_answers: tuple[Answer, ...] = ()
    mcp_tools: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
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
        """Return the answer of the ``number``-th response, counted from 0."""
        return self.answers[number % len(self.answers)]

    def user_transcript(self, number: int) -> str:
        """Return the transcript of the ``number``-th user utterance, counted from 0."""
        return self.user_transcripts[number % len(self.user_transcripts)]
