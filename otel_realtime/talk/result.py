"""The result of a call, as text for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from otel_realtime import Conversation
from otel_realtime.talk.app import Facts, Sound, VoiceCall, counted
from otel_realtime.talk.destination import Destination

#: Default address of ``otel-realtime sandbox``, which later shows the calls kept on this machine.
LATER_URL: Final = "http://127.0.0.1:8321"


@dataclass(slots=True)
class Result:
    """The result of the call.

    Attributes:
        ended_by: ``user`` (Ctrl-C), ``seconds``, ``server``, ``device``, or ``connection``.
        problem: the error that ended it; empty without one.
        delivered: whether everything was delivered.
        recording: where the WAV is kept; None if it is not.
    """

    facts: Facts = field(default_factory=Facts)
    conversation: Conversation | None = None
    call: VoiceCall | None = None
    duration_s: float = 0.0
    ended_by: str = ""
    problem: str = ""
    delivered: bool = False
    recording: str | None = None

    def on_recording(self, _path: object, info: Any) -> None:
        """Note where the recording is kept; called on a background thread."""
        kept = info.get("kept_as")
        self.recording = None if kept is None else str(kept)


def page_of(result: Result, where: Destination, *, served: bool) -> str | None:
    """Return the page of the conversation in the sandbox, if it went there.

    Args:
        result: the result of the call.
        where: the destination of the call.
        served: whether this process goes on serving it; otherwise ``otel-realtime sandbox`` does.
    """
    if where.sandbox is None or result.conversation is None:
        return None
    url = where.sandbox.url if served else LATER_URL
    return f"{url}/conversations/{result.conversation.langsmith_run_id}"


def report(result: Result, where: Destination, *, served: bool) -> Iterator[tuple[str, str]]:
    """Yield the lines of the summary, each with its label; the arguments are those of ``page_of``."""
    facts, conversation = result.facts, result.conversation
    told = [
        f"{result.duration_s:.1f} s",
        counted(len(facts.turns), "turn"),
        counted(len(facts.interruptions), "interruption"),
        counted(facts.tool_calls, "tool call"),
    ]
    yield "call", ", ".join(filter(None, told))
    if result.call is not None:
        yield "sound", _sound(result.call)
    yield "recording", result.recording or "none"
    if conversation is not None:
        yield "trace", conversation.trace_id
    url, page = _langsmith_url(result, where), page_of(result, where, served=served)
    if url is not None:
        yield "LangSmith", url
    if page is not None:
        yield "page", page
        yield "", f"{'later' if served else 'served by'}: otel-realtime sandbox"
    if result.problem:
        yield "PROBLEM", result.problem
    if not result.delivered:
        yield "PROBLEM", "not everything was delivered: otel-realtime recover tries again"


def _langsmith_url(result: Result, where: Destination) -> str | None:
    """Return the page of the root run in LangSmith; the sandbox has its own."""
    if where.sandbox is not None or result.conversation is None:
        return None
    return result.conversation.langsmith_url


def _sound(call: VoiceCall) -> str:
    lost = [
        counted(call.microphone.stream.xruns, "overrun"),
        counted(call.speaker.stream.xruns, "underrun"),
        counted(call.speaker.gaps, "gap"),
        counted(call.microphone.dropped, "dropped block"),
    ]
    peaks = (
        f"microphone peak {call.microphone.level.peak_db:.0f} dBFS, "
        f"speaker peak {call.speaker.level.peak_db:.0f} dBFS"
    )
    return f"{peaks}; {', '.join(filter(None, lost)) or 'nothing lost'}"


def summary(result: Result, where: Destination, sound: Sound) -> dict[str, Any]:
    """Return the result for ``--json``."""
    conversation, call = result.conversation, result.call
    return {
        "thread_id": None if conversation is None else conversation.thread_id,
        "trace_id": None if conversation is None else conversation.trace_id,
        "langsmith_run_id": None if conversation is None else conversation.langsmith_run_id,
        "langsmith_url": _langsmith_url(result, where),
        "page": page_of(result, where, served=False),
        "recording": result.recording,
        "delivered": result.delivered,
        "ended_by": result.ended_by,
        "problem": result.problem or None,
        "duration_s": round(result.duration_s, 3),
        "turns": result.facts.turns,
        "interruptions": [
            {"item_id": cut.item_id, "played_ms": cut.played_ms}
            for cut in result.facts.interruptions
        ],
        "tool_calls": result.facts.tool_calls,
        "errors": result.facts.errors,
        "microphone": {
            "device": sound.microphone.name,
            "rate_hz": sound.microphone_format.rate_hz,
            "overruns": call.microphone.stream.xruns if call else 0,
            "dropped_blocks": call.microphone.dropped if call else 0,
            "peak_dbfs": round(call.microphone.level.peak_db, 1) if call else None,
        },
        "speaker": {
            "device": sound.speaker.name,
            "rate_hz": sound.speaker_format.rate_hz,
            "underruns": call.speaker.stream.xruns if call else 0,
            "gaps": call.speaker.gaps if call else 0,
            "peak_dbfs": round(call.speaker.level.peak_db, 1) if call else None,
        },
    }
