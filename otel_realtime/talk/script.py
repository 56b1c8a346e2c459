"""What the scripted server answers to a live microphone: it hears that somebody speaks, not what."""

from __future__ import annotations

from typing import Final

from otel_realtime.demo.scenario import Answer, Call, Scenario
from otel_realtime.demo.speech import utterance

#: Shown as what the user said, which nobody transcribes.
UNHEARD: Final = "(words that the scripted server does not understand)"


def talk_scenario() -> Scenario:
    """Return the script; it starts over at its end."""
    hello, listen, time, end = (
        Answer.from_utterance(utterance(f"agent_talk_{name}"))
        for name in ("hello", "listen", "time", "end")
    )
    ask = Answer(calls=(Call(name="get_time"),))
    return Scenario(user_transcripts=(UNHEARD,), answers=(hello, listen, ask, time, end))
