"""The demo's conversation: what the caller says and what the server answers."""

from __future__ import annotations

from dataclasses import dataclass

from otel_realtime.demo.devices import Line
from otel_realtime.demo.scenario import Answer, Call, Scenario
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
    """

    scenario: Scenario
    lines: tuple[Line, ...]
    silence_ms: int
    hang_up_after_s: float
    about_s: int


#: Two function calls in one response, to show tools that run concurrently.
CALLS = Answer(
    calls=(
        Call(name="lookup_weather", arguments='{"city": "Paris"}'),
        Call(name="lookup_weather", arguments='{"city": "Tokyo"}'),
    )
)


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
    """Return a shorter call: the same without the goodbye and with hardly a pause."""
    return _story(
        user=("user_ask_short", "user_stop"),
        agent=("agent_weather", "agent_paris_short"),
        timing=(("start", 0.1), ("speaking", 1.0)),
        silence_ms=300,
        hang_up_after_s=0.1,
        answer_delay_ms=100,
        about_s=7,
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
) -> Story:
    user_speech = [utterance(name) for name in user]
    return Story(
        scenario=Scenario(
            user_transcripts=tuple(speech.text for speech in user_speech),
            answers=(CALLS, *(Answer.from_utterance(utterance(name)) for name in agent)),
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
    )
