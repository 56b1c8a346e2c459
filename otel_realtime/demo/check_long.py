"""Checks the features that only the longer call has: a silence, an approval, an out-of-band response.

As in ``check``, each function returns one sentence per problem.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan

from otel_realtime import attributes
from otel_realtime.attributes import OURS, Fact, RootFact
from otel_realtime.demo.check import Json

#: How much longer the approval in the trace may be than the person took, ms.
APPROVAL_MARGIN_MS: Final = 500


def check_idle(spans: Sequence[ReadableSpan], sent: Sequence[Json]) -> list[str]:
    """Check that the server's prompt after a silence does not count as an answer to the user.

    Args:
        spans: all finished spans of the trace.
        sent: the server's events in order.
    """
    types = [event["type"] for event in sent]
    if types.count(_TIMEOUT) != 1:
        return [f"expected one {_TIMEOUT} event, found {types.count(_TIMEOUT)}"]
    at = types.index(_TIMEOUT)
    response = sent[types.index("response.created", at)]["response"]
    root, answer = _root(spans), _chat(spans, response["id"])
    if root is None or answer is None:
        return ["there is no inference span of the answer to the silence"]
    problems = []
    waits = [key for key in answer if key.startswith(_WAITS)]
    if waits:
        problems.append(f"the answer to the silence has a latency: {', '.join(waits)}")
    if root.get(OURS + RootFact.IDLE_TIMEOUTS) != 1:
        problems.append("the root span does not count one idle timeout")
    said = sum(event["type"] == _STOPPED for event in sent)
    turns = sum(message["role"] == "user" for message in _json(root, attributes.COMPLETION))
    if turns != said:
        problems.append(f"the user spoke {said} times, the transcript has {turns} user turns")
    return problems


def check_approval(
    spans: Sequence[ReadableSpan], sent: Sequence[Json], approval_ms: int
) -> list[str]:
    """Check the approval's span, and that the model read the result of the approved call.

    Args:
        spans: all finished spans of the trace.
        sent: the server's events in order.
        approval_ms: how long the person took.
    """
    approvals = [_of(span) for span in spans if span.name.startswith("mcp_approval ")]
    if len(approvals) != 1:
        return [f"expected one 'mcp_approval ...' span, found {len(approvals)}"]
    (approval,) = approvals
    problems = []
    if approval.get(OURS + Fact.MCP_APPROVED) is not True:
        problems.append("the approval's span does not say that the call was approved")
    waited_ms = approval.get(OURS + Fact.TOOL_WAITED)
    if waited_ms is None or not approval_ms - 1 <= waited_ms <= approval_ms + APPROVAL_MARGIN_MS:
        problems.append(f"the approval took {approval_ms} ms, its span says {waited_ms}")
    done = [event["response"] for event in sent if event["type"] == "response.done"]
    for number, response in enumerate(done):
        for item in response["output"]:
            if item["type"] == "mcp_call":
                read = _chat(spans, done[number + 1]["id"])
                if item["output"] not in _contents(read, attributes.PROMPT):
                    problems.append("the input after the MCP call lacks its result")
    return problems


def check_out_of_band(spans: Sequence[ReadableSpan], received: Iterable[Json]) -> list[str]:
    """Check that an out-of-band response has its own input, and stays out of the conversation.

    Args:
        spans: all finished spans of the trace.
        received: the app's events in order.
    """
    requests = [
        event.get("response") or {} for event in received if event["type"] == "response.create"
    ]
    asked = [request for request in requests if request.get("conversation") == "none"]
    found = [_of(span) for span in spans if _of(span).get(OURS + Fact.OUT_OF_BAND)]
    root = _root(spans)
    if len(asked) != 1 or len(found) != 1 or root is None:
        return [f"the app sent {len(asked)} out-of-band requests, the trace has {len(found)}"]
    (request,), (chat,) = asked, found
    problems = []
    for key, value in request["metadata"].items():
        if chat.get(f"{OURS}{Fact.RESPONSE_METADATA}{key}") != value:
            problems.append(f"the out-of-band span lacks the metadata {key!r}")
    if request["instructions"] not in str(chat.get(attributes.SYSTEM_INSTRUCTIONS)):
        problems.append("the out-of-band span lacks its instructions")
    transcript = _contents(root, attributes.COMPLETION)
    read = [m["content"] for m in _json(chat, attributes.PROMPT) if m["role"] == "user"]
    if read != transcript[:1]:
        problems.append(f"the out-of-band input should be the first question, is {read}")
    answers = [choice["message"]["content"] for choice in _json(chat, attributes.COMPLETION)]
    problems += [f"{text!r} is in the transcript" for text in answers if text in transcript]
    return problems


_TIMEOUT: Final = "input_audio_buffer.timeout_triggered"
_STOPPED: Final = "input_audio_buffer.speech_stopped"
#: Attributes, or prefixes of attributes, that hold the user's wait.
_WAITS: Final = (OURS + Fact.VOICE_TO_VOICE, OURS + Fact.LATENCY)


def _of(span: ReadableSpan) -> Mapping[str, Any]:
    return span.attributes or {}


def _root(spans: Iterable[ReadableSpan]) -> Mapping[str, Any] | None:
    return next((_of(span) for span in spans if span.name == attributes.ROOT_NAME), None)


def _chat(spans: Iterable[ReadableSpan], response_id: str) -> Mapping[str, Any] | None:
    """Return the attributes of a response's inference span."""
    chats = (_of(span) for span in spans if span.name.startswith("chat "))
    return next((chat for chat in chats if chat.get(attributes.RESPONSE_ID) == response_id), None)


def _json(span: Mapping[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """Return the first list in an attribute whose value is a JSON object."""
    value = json.loads((span or {}).get(key, "{}"))
    return next((found for found in value.values() if isinstance(found, list)), [])


def _contents(span: Mapping[str, Any] | None, key: str) -> list[Any]:
    return [message["content"] for message in _json(span, key)]
