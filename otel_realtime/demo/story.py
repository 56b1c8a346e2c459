"""The demo's conversation: what the caller says and what the server answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_realtime.demo.app import VoiceApp
from otel_realtime.demo.assistant import MCP_SERVER, AssistantApp
from otel_realtime.demo.devices import Line
from otel_realtime.demo.scenario import Answer, Call, McpCall, Scenario
from otel_realtime.demo.speech import utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A scripted call.

    Attributes:
        scenario: the server's part.
        lines: the caller's part.
        silence_ms: silence that ends the caller's turn.
        hang_up_after_s: seconds of silence after the last answer before the caller hangs up.
        about_s: roughly how long the call takes.
        app: the app that holds it.
    """

    scenario: Scenario
    lines: tuple[Line, ...]
    silence_ms: int
    hang_up_after_s: float
    about_s: int
    app: type[VoiceApp] = VoiceApp


#: Two function calls in one response, to show tools that run concurrently.
CALLS = Answer(
    calls=(
        Call(name="lookup_weather", arguments='{"city": "Paris"}'),
        Call(name="lookup_weather", arguments='{"city": "Tokyo"}'),
    )
)
#: A call of an MCP tool, which the app must approve.
WARNINGS: Final = McpCall(
    server_label=MCP_SERVER,
    name="list_warnings",
    arguments='{"city": "Paris"}',
    output='{"city": "Paris", "warnings": []}',
    takes_ms=400,
)
WARNINGS_TOOL: Final = {
    "name": WARNINGS.name,
    "description": "List the weather warnings for a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    "annotations": None,
}


def full_story() -> Story:
    """Return a call with a question, two function calls, an interrupted answer and a goodbye."""
    return _story(
        user=("user_ask", "user_stop", "user_bye"),
        agent=("agent_weather", "agent_paris", "agent_bye"),
        timing=(("start", 0.4), ("speaking", 4.5), ("answer", 0.5)),
        silence_ms=500,
        hang_up_after_s=0.5,
        answer_delay_ms=300,
        about_s=20,
    )


def fast_story() -> Story:
    """Return a shorter call, without the goodbye and with very short pauses."""
    return _story(
        user=("user_ask_short", "user_stop"),
        agent=("agent_weather", "agent_paris_short"),
        timing=(("start", 0.1), ("speaking", 1.0)),
        silence_ms=300,
        hang_up_after_s=0.1,
        answer_delay_ms=100,
        about_s=7,
    )


def long_story(*, fast: bool = False) -> Story:
    """Return a longer call: a silence that the server breaks, an approval, a classification.

    Args:
        fast: leave out the pauses and the long lines.
    """
    ask, paris = ("user_ask", "agent_paris")
    if fast:
        ask, paris = ("user_ask_short", "agent_paris_short")
    pause_s = 0.2 if fast else 1.0
    return _story(
        user=(ask, "user_stop", "user_warnings", "user_bye"),
        agent=("agent_weather", paris, "agent_still_there", "agent_no_warnings", "agent_bye"),
        timing=(
            ("start", pause_s),
            ("speaking", 1.0 if fast else 6.5),
            ("prompt", pause_s),
            ("answer", pause_s),
        ),
        mcp_before="agent_no_warnings",
        silence_ms=300 if fast else 500,
        hang_up_after_s=pause_s,
        answer_delay_ms=100 if fast else 300,
        about_s=25 if fast else 40,
        app=AssistantApp,
    )


def _story(
    *,
    user: tuple[str, ...],
    agent: tuple[str, ...],
    timing: tuple[tuple[str, float], ...],
    silence_ms: int,
    hang_up_after_s: float,
    answer_delay_ms: int,
    about_s: int,
    mcp_before: str | None = None,
    app: type[VoiceApp] = VoiceApp,
) -> Story:
    """Return a call.

    Args:
        user: the user's utterances.
        agent: the agent's utterances, after the function calls.
        timing: when the user speaks, as in ``Line``.
        silence_ms: silence that ends the caller's turn.
        hang_up_after_s: seconds of silence after the last answer before the caller hangs up.
        answer_delay_ms: from ``response.created`` to the first output.
        about_s: roughly how long the call takes.
        mcp_before: the utterance that the model needs an MCP tool for.
        app: the app that holds the call.
    """
    user_speech = [utterance(name) for name in user]
    answers = [CALLS]
    for name in agent:
        if name == mcp_before:
            answers.append(Answer(mcp_calls=(WARNINGS,)))
        answers.append(Answer.from_utterance(utterance(name)))
    return Story(
        scenario=Scenario(
            user_transcripts=tuple(speech.text for speech in user_speech),
            answers=tuple(answers),
            out_of_band_answers=(Answer(text="weather"),),
            mcp_tools={MCP_SERVER: (WARNINGS_TOOL,)},
            answer_delay_ms=answer_delay_ms,
            # Short, so that every transcript arrives before the caller hangs up.
            transcription_delay_ms=80,
        ),
        lines=tuple(
            Line(speech=speech, after=after, wait_s=wait_s)
            for speech, (after, wait_s) in zip(user_speech, timing, strict=True)
        ),
        silence_ms=silence_ms,
        hang_up_after_s=hang_up_after_s,
        about_s=about_s,
        app=app,
    )
