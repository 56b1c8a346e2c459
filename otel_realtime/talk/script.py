"""The scripted server's answers to a live microphone; it detects speech, but understands no words."""

from __future__ import annotations

from typing import Final

from otel_realtime.demo.scenario import Answer, Call, Scenario
from otel_realtime.demo.speech import utterance

#: Shown as the user's words, which are not transcribed.
UNHEARD: Final = "(words that the scripted server does not understand)"


def talk_scenario() -> Scenario:
    """Return the script, which repeats from the start."""
    hello, listen, time, end = (
        Answer.from_utterance(utterance(f"agent_talk_{name}"))
        for name in ("hello", "listen", "time", "end")
    )
    ask = Answer(calls=(Call(name="get_time"),))
    return Scenario(user_transcripts=(UNHEARD,), answers=(hello, listen, ask, time, end))
