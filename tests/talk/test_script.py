"""What the scripted server answers to a live microphone."""

from __future__ import annotations

from otel_realtime.talk.script import talk_scenario
from otel_realtime.talk.tools import TOOLS


def test_every_answer_is_spoken_or_calls_the_tool() -> None:
    """And what is spoken is short, because a newcomer listens to it."""
    answers = talk_scenario().answers
    assert ["get_time"] == [call.name for answer in answers for call in answer.calls]
    assert {TOOLS[0]["name"]} == {call.name for answer in answers for call in answer.calls}
    spoken = [answer for answer in answers if not answer.calls]
    assert all(1 < len(answer.pcm) / 48_000 < 10 and answer.text for answer in spoken)
