"""The demo's conversation, both sides of it: what the caller says and what the server answers."""

from __future__ import annotations

from dataclasses import dataclass

from otel_realtime.demo.devices import Line
from otel_realtime.demo.scenario import Answer, Call, Scenario
from otel_realtime.demo.speech import utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A scripted call.

    Attributes:
        silence_ms: silence that ends the caller's turn.
        hang_up_after_s: quiet after the last answer before the caller hangs up.
    """

    scenario: Scenario
    lines: tuple[Line, ...]
    silence_ms: int
    hang_up_after_s: float


CALLS = Answer(
    calls=(
        Call(name="lookup_weather", arguments='{"city": "Paris"}'),
        Call(name="lookup_weather", arguments='{"city": "Tokyo"}'),
    )
)


def full() -> Story:
    """About 20 seconds: a question, two function calls, a long answer cut short, a goodbye."""
    return _story(
        user=("user_ask", "user_stop", "user_bye"),
        agent=("agent_weather", "agent_paris", "agent_bye"),
        when=(("start", 0.4), ("speaking", 4.5), ("answer", 0.5)),
        silence_ms=500,
        hang_up_after_s=0.5,
        answer_delay_ms=300,
    )


def fast() -> Story:
    """About 7 seconds: the same without the goodbye, shorter and with hardly a pause."""
    return _story(
        user=("user_ask_short", "user_stop"),
        agent=("agent_weather", "agent_paris_short"),
        when=(("start", 0.1), ("speaking", 1.0)),
        silence_ms=300,
        hang_up_after_s=0.1,
        answer_delay_ms=100,
    )


def _story(
    *,
    user: tuple[str, ...],
    agent: tuple[str, ...],
    when: tuple[tuple[str, float], ...],
    silence_ms: int,
    hang_up_after_s: float,
    answer_delay_ms: int,
) -> Story:
    said = [utterance(name) for name in user]
    return Story(
        scenario=Scenario(
            heard=tuple(speech.text for speech in said),
            answers=(CALLS, *(Answer.saying(utterance(name)) for name in agent)),
            answer_delay_ms=answer_delay_ms,
            transcription_delay_ms=80,
        ),
        lines=tuple(
            Line(speech=speech, after=after, wait_s=wait_s)
            for speech, (after, wait_s) in zip(said, when, strict=True)
        ),
        silence_ms=silence_ms,
        hang_up_after_s=hang_up_after_s,
    )
