"""Checks that the trace is complete, by comparing it with what the scripted server recorded.

Each ``check_*`` function returns one sentence per problem; an empty list means that there are none.
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
from otel_realtime.demo.scenario import Answer, Scenario
from otel_realtime.demo.speech import BYTES_PER_MS, RATE_HZ
from otel_realtime.demo.tree import node_of
from otel_realtime.demo.vad import WINDOW_BYTES, window_levels
from otel_realtime.langsmith.ids import run_id

#: A decoded Realtime event, or a conversation from the sandbox's read API.
Json = Mapping[str, Any]
#: Length of the audio that is compared around a cut. It is longer than any pause in the speech, so it
#: is never only silence, which would match anywhere.
WINDOW_MS: Final = 300
#: RMS above which a window counts as sound, 1.0 being full scale: -40 dBFS.
AUDIBLE: Final = 0.01
LENGTH_MARGIN_S: Final = 0.5


def check_spans(spans: Sequence[ReadableSpan], sent: Sequence[Json]) -> list[str]:
    """Compare the spans of one conversation with the events that the server sent.

    Args:
        spans: all finished spans of the trace.
        sent: the server's events in order.
    """
    nodes = [node_of(span) for span in spans]
    roots = [node for node in nodes if node.name == attributes.ROOT_NAME]
    if len(roots) != 1:
        return [f"expected one {attributes.ROOT_NAME} span, found {len(roots)}"]
    (root,) = roots
    problems = [f"the root span failed: {root.note}"] if root.failed else []
    children = sorted((n for n in nodes if n.parent_id == root.span_id), key=lambda n: n.start_ns)
    types = {event["type"] for event in sent}
    # Deltas get no spans: a trace would exceed LangSmith's 25,000 runs.
    expected = [event["type"] for event in sent if not event["type"].endswith(".delta")]
    traced = [node.name for node in children if node.name in types]
    if traced != expected:
        problems.append(f"event spans differ: {_first_difference(expected, traced)}")
    event_counts = Counter(event["type"] for event in sent)
    transcribed = "conversation.item.input_audio_transcription.completed"
    tool_calls = sum(
        item["type"] in ("function_call", "mcp_call")
        for event in sent
        if event["type"] == "response.done"
        for item in event["response"]["output"]
    )
    expected_counts = {
        "chat": event_counts["response.done"],
        "transcribe": event_counts[transcribed],
        "execute_tool": tool_calls,
    }
    operation_counts = Counter(node.name.split(" ")[0] for node in nodes)
    for operation, number in expected_counts.items():
        if operation_counts[operation] != number:
            problems.append(
                f"expected {number} '{operation} ...' spans, found {operation_counts[operation]}"
            )
    return problems


def check_interruption(spans: Iterable[ReadableSpan], received: Iterable[Json]) -> list[str]:
    """Check that the barge-in is on one inference span, with the played length the app reported."""
    truncations = [event for event in received if event["type"] == "conversation.item.truncate"]
    if len(truncations) != 1:
        return [f"expected the app to truncate once, it did {len(truncations)} times"]
    attribute_sets = [dict(span.attributes or {}) for span in spans]
    interrupted = [
        span_attributes
        for span_attributes in attribute_sets
        if span_attributes.get(attributes.OURS + attributes.Fact.INTERRUPTED)
    ]
    if len(interrupted) != 1:
        return [f"expected one interrupted inference span, found {len(interrupted)}"]
    traced_ms = interrupted[0].get(attributes.OURS + attributes.Fact.HEARD)
    played_ms = truncations[0]["audio_end_ms"]
    if traced_ms != played_ms:
        return [f"the app truncated the answer at {played_ms} ms, its span says {traced_ms}"]
    return []


def check_delivery(spans: Iterable[ReadableSpan], conversation: Json) -> list[str]:
    """Compare what arrived in the sandbox with the spans that ended in this process."""
    expected = {
        run_id(node.span_id): (node.name, run_id(node.parent_id) if node.parent_id else None)
        for node in map(node_of, spans)
    }
    runs = {run["id"]: (run["name"], run["parent_id"]) for run in conversation["runs"]}
    problems = [f"did not arrive: {expected[key][0]}" for key in expected.keys() - runs.keys()]
    problems += [f"arrived unexpectedly: {runs[key][0]}" for key in runs.keys() - expected.keys()]
    for key in expected.keys() & runs.keys():
        if expected[key] != runs[key]:
            problems.append(f"arrived as {runs[key]}, expected {expected[key]}")
    if conversation["status"] != "success":
        problems.append(f"the conversation is shown as {conversation['status']}")
    for violation in conversation["violations"]:
        problems.append(f"contract violation: {violation['kind']}: {violation['message']}")
    return problems


def check_recording(
    path: Path,
    scenario: Scenario,
    sent: Sequence[Json],
    received: Sequence[Json],
    duration_s: float,
) -> list[str]:
    """Check the stereo file: its length, sound on both channels, and the interrupted answer's cut.

    Args:
        path: the WAV file.
        scenario: the scenario that the server played.
        sent: the server's events in order.
        received: the app's events in order.
        duration_s: the duration of the conversation.
    """
    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (2, 2, RATE_HZ):
            return ["the recording is not 16-bit stereo at 24 kHz"]
        stereo = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    problems = []
    length_s = len(stereo) / RATE_HZ
    if abs(length_s - duration_s) > LENGTH_MARGIN_S:
        problems.append(f"the recording has {length_s:.1f} s, the call took {duration_s:.1f} s")
    channels = {"user": stereo[:, 0].tobytes(), "agent": stereo[:, 1].tobytes()}
    problems += [
        f"the {name}'s channel is silent" for name, pcm in channels.items() if not audible_s(pcm)
    ]
    answer_pcm = {item_id: answer.pcm for item_id, answer in _spoken_answers(scenario, sent)}
    for event in received:
        if event["type"] == "conversation.item.truncate":
            answer = answer_pcm[event["item_id"]]
            problems += _check_cut(channels["agent"], answer, event["audio_end_ms"])
    return problems


def _check_cut(agent_channel: bytes, answer: bytes, played_ms: int) -> list[str]:
    # The recording copies the samples unchanged, so a byte search finds them.
    cut, window = played_ms * BYTES_PER_MS, WINDOW_MS * BYTES_PER_MS
    problems = []
    if answer[max(0, cut - window) : cut] not in agent_channel:
        problems.append(f"the recording lacks the answer up to where it was cut ({played_ms} ms)")
    if answer[cut : cut + window] in agent_channel:
        problems.append(f"the recording has the answer beyond where it was cut ({played_ms} ms)")
    return problems


def _spoken_answers(scenario: Scenario, sent: Iterable[Json]) -> Iterable[tuple[str, Answer]]:
    """Yield the item id and the answer of every message that the server spoke."""
    responses = [event["response"] for event in sent if event["type"] == "response.done"]
    # An out-of-band response and the run of an approved call do not count as answers.
    for number, response in enumerate(filter(_is_answer, responses)):
        for item in response["output"]:
            if item["type"] == "message":
                yield item["id"], scenario.answer(number)


def _is_answer(response: Json) -> bool:
    ran_approved = any(item.get("approval_request_id") for item in response["output"])
    return response.get("conversation_id", "") is not None and not ran_approved


def audible_s(pcm: bytes) -> float:
    """Return the seconds of sound above -40 dBFS in one channel of PCM16 at 24 kHz."""
    whole_windows = len(pcm) - len(pcm) % WINDOW_BYTES
    return float((window_levels(pcm[:whole_windows]) > AUDIBLE).sum()) / 100


def _first_difference(expected: Sequence[str], actual: Sequence[str]) -> str:
    for number, (want, got) in enumerate(zip(expected, actual, strict=False)):
        if want != got:
            return f"event {number + 1} should be {want}, is {got}"
    return f"expected {len(expected)}, found {len(actual)}"
