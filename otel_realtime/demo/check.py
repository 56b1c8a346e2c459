"""Did the trace come out whole? Compares what was traced with what the scripted server knows.

Each function returns sentences about what is wrong; none means that all is well.
"""

from __future__ import annotations

import wave
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from opentelemetry.sdk.trace import ReadableSpan

from otel_realtime import attributes
from otel_realtime.demo.scenario import Scenario
from otel_realtime.demo.speech import BYTES_PER_MS, RATE_HZ
from otel_realtime.demo.tree import node_of
from otel_realtime.demo.vad import WINDOW_BYTES, window_levels
from otel_realtime.langsmith.ids import run_id

Json = Mapping[str, Any]
WINDOW_MS: Final = 300
"""Longer than any pause in the speech, so a window of it never is plain silence."""
AUDIBLE: Final = 0.01
LENGTH_MARGIN_S: Final = 0.5


def check_spans(spans: Sequence[ReadableSpan], sent: Sequence[Json]) -> list[str]:
    """The spans of one conversation against the events the server sent.

    Args:
        spans: all finished spans of the trace.
        sent: the server's events in order.
    """
    nodes = [node_of(span) for span in spans]
    roots = [node for node in nodes if node.name == attributes.ROOT_NAME]
    if len(roots) != 1:
        return [f"expected one {attributes.ROOT_NAME} span, found {len(roots)}"]
    (root,) = roots
    found = [f"the root span says: {root.note}"] if root.failed else []
    below = sorted((n for n in nodes if n.parent_id == root.span_id), key=lambda n: n.start_ns)
    kinds = {event["type"] for event in sent}
    expected = [event["type"] for event in sent if not event["type"].endswith(".delta")]
    traced = [node.name for node in below if node.name in kinds]
    if traced != expected:
        found.append(f"event spans differ: {_difference(expected, traced)}")
    count = Counter(event["type"] for event in sent)
    done = "conversation.item.input_audio_transcription.completed"
    calls = sum(
        item["type"] == "function_call"
        for event in sent
        if event["type"] == "response.done"
        for item in event["response"]["output"]
    )
    wanted = {"chat": count["response.done"], "transcribe": count[done], "execute_tool": calls}
    actual = Counter(node.name.split(" ")[0] for node in nodes)
    for name, number in wanted.items():
        if actual[name] != number:
            found.append(f"expected {number} '{name} ...' spans, found {actual[name]}")
    return found


def check_interruption(spans: Iterable[ReadableSpan], received: Iterable[Json]) -> list[str]:
    """The barge-in stands on an inference span, with what the app said was heard."""
    cuts = [event for event in received if event["type"] == "conversation.item.truncate"]
    if len(cuts) != 1:
        return [f"expected the app to truncate once, it did {len(cuts)} times"]
    facts = [dict(span.attributes or {}) for span in spans]
    marked = [fact for fact in facts if fact.get(attributes.OURS + attributes.Fact.INTERRUPTED)]
    if len(marked) != 1:
        return [f"expected one interrupted inference span, found {len(marked)}"]
    heard, kept = marked[0].get(attributes.OURS + attributes.Fact.HEARD), cuts[0]["audio_end_ms"]
    if heard != kept:
        return [f"the interrupted answer was heard for {kept} ms, its span says {heard}"]
    return []


def check_delivery(spans: Iterable[ReadableSpan], conversation: Mapping[str, Any]) -> list[str]:
    """What arrived in the sandbox against what ended in this process."""
    expected = {
        run_id(node.span_id): (node.name, run_id(node.parent_id) if node.parent_id else None)
        for node in map(node_of, spans)
    }
    runs = {run["id"]: (run["name"], run["parent_id"]) for run in conversation["runs"]}
    found = [f"never arrived: {expected[key][0]}" for key in expected.keys() - runs.keys()]
    found += [f"arrived uninvited: {runs[key][0]}" for key in runs.keys() - expected.keys()]
    for key in expected.keys() & runs.keys():
        if expected[key] != runs[key]:
            found.append(f"arrived as {runs[key]}, ended here as {expected[key]}")
    if conversation["status"] != "success":
        found.append(f"the conversation is shown as {conversation['status']}")
    for violation in conversation["violations"]:
        found.append(f"LangSmith's contract: {violation['kind']}: {violation['message']}")
    return found


def check_recording(
    path: Path,
    scenario: Scenario,
    sent: Sequence[Json],
    received: Sequence[Json],
    duration_s: float,
) -> list[str]:
    """The stereo file: as long as the call, sound on both sides, the interrupted answer cut.

    Args:
        path: the WAV file.
        scenario: what the server said.
        sent: the server's events in order.
        received: the app's events in order.
        duration_s: of the conversation.
    """
    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (2, 2, RATE_HZ):
            return ["the recording is not 16-bit stereo at 24 kHz"]
        stereo = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    found = []
    length_s = len(stereo) / RATE_HZ
    if abs(length_s - duration_s) > LENGTH_MARGIN_S:
        found.append(f"the recording has {length_s:.1f} s, the call took {duration_s:.1f} s")
    sides = {"user": stereo[:, 0].tobytes(), "agent": stereo[:, 1].tobytes()}
    found += [
        f"the {name}'s channel is silent" for name, pcm in sides.items() if not audible_s(pcm)
    ]
    said = {item: answer.pcm for item, answer in _spoken_answers(scenario, sent)}
    for event in received:
        if event["type"] == "conversation.item.truncate":
            found += _check_cut(sides["agent"], said[event["item_id"]], event["audio_end_ms"])
    return found


def _check_cut(agent: bytes, said: bytes, kept_ms: int) -> list[str]:
    cut, window = kept_ms * BYTES_PER_MS, WINDOW_MS * BYTES_PER_MS
    found = []
    if said[max(0, cut - window) : cut] not in agent:
        found.append(f"the recording lacks the answer up to where it was cut ({kept_ms} ms)")
    if said[cut : cut + window] in agent:
        found.append(f"the recording has the answer beyond where it was cut ({kept_ms} ms)")
    return found


def _spoken_answers(scenario: Scenario, sent: Iterable[Json]) -> Iterable[tuple[str, Any]]:
    """(item, answer) of every message the server spoke."""
    done = [event["response"] for event in sent if event["type"] == "response.done"]
    for number, response in enumerate(done):
        for item in response["output"]:
            if item["type"] == "message":
                yield item["id"], scenario.answer(number)


def audible_s(pcm: bytes) -> float:
    """Seconds of sound above -40 dBFS in one channel."""
    whole = len(pcm) - len(pcm) % WINDOW_BYTES
    return float((window_levels(pcm[:whole]) > AUDIBLE).sum()) / 100


def _difference(expected: Sequence[str], actual: Sequence[str]) -> str:
    for number, (want, got) in enumerate(zip(expected, actual, strict=False)):
        if want != got:
            return f"event {number + 1} should be {want}, is {got}"
    return f"expected {len(expected)}, found {len(actual)}"
