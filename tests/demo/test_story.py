"""The demo's calls: what is asked is answered, with sound that ships with the package."""

from __future__ import annotations

import json

import pytest

from otel_realtime.demo.scenario import Answer, Scenario
from otel_realtime.demo.speech import utterance
from otel_realtime.demo.story import CALLS, Story, fast_story, full_story, long_story


def long_fast_story() -> Story:
    """The longer call, with hardly a pause."""
    return long_story(fast=True)


STORIES = [full_story, fast_story, long_story, long_fast_story]


@pytest.fixture(params=STORIES, ids=lambda made: made.__name__)
def story(request: pytest.FixtureRequest) -> Story:
    """Each of the demo's calls."""
    made: Story = request.param()
    return made


def test_the_transcript_is_what_the_caller_says(story: Story) -> None:
    """Line by line, in the order of the call."""
    assert story.scenario.user_transcripts == tuple(line.speech.text for line in story.lines)


def test_the_tools_are_called_first(story: Story) -> None:
    """Two of them at once, with arguments that parse; then every line has its answer."""
    first, *spoken = story.scenario.answers
    assert CALLS is first
    cities = [json.loads(call.arguments)["city"] for call in CALLS.calls]
    assert ["Paris", "Tokyo"] == cities
    prompts = sum(line.after == "prompt" for line in story.lines)
    mcp = sum(bool(answer.mcp_calls) for answer in spoken)
    assert len(story.lines) + prompts + mcp == len(spoken)
    assert all((answer.text and answer.pcm) or answer.mcp_calls for answer in spoken)


def test_the_caller_speaks_into_an_answer(story: Story) -> None:
    """After it has begun, and while the server still has to play it."""
    stop = story.lines[1]
    interrupted = story.scenario.answers[1]
    length_s = len(interrupted.pcm) / 2 / 24_000
    assert "speaking" == stop.after
    assert 0 < stop.wait_s < length_s


def test_a_call_takes_about_as_long_as_it_says(story: Story) -> None:
    """At least as long as its lines and answers are, less what is cut off."""
    said_s = sum(len(line.speech.pcm) for line in story.lines) / 2 / 24_000
    assert said_s < story.about_s < 60


def test_the_fast_call_is_the_shorter_one() -> None:
    """In every respect."""
    full, fast = full_story(), fast_story()
    assert fast.about_s < full.about_s
    assert fast.hang_up_after_s < full.hang_up_after_s
    assert len(fast.lines) < len(full.lines)


def test_the_long_call_is_the_longest() -> None:
    """It has all the others have, and takes as long as a newcomer will wait."""
    full, long = full_story(), long_story()
    assert full.about_s < long.about_s <= 60
    assert long_fast_story().about_s < long.about_s
    assert {line.speech.text for line in full.lines} < {line.speech.text for line in long.lines}


def test_a_scenario_starts_over() -> None:
    """With its answers, and with what the caller is heard to say."""
    one, other = Answer(text="one"), Answer(text="other")
    scenario = Scenario(answers=(one, other), user_transcripts=("a", "b", "c"))
    assert [one, other, one] == [scenario.answer(number) for number in range(3)]
    assert ["a", "b", "c", "a"] == [scenario.user_transcript(number) for number in range(4)]


def test_an_answer_speaks_an_utterance() -> None:
    """Its words and its sound, and nothing is called."""
    said = utterance("agent_bye")
    assert Answer(text=said.text, pcm=said.pcm) == Answer.from_utterance(said)
