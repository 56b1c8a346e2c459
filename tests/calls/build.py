"""Spans of small calls, as rows."""

from __future__ import annotations

import json
from typing import Any

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact, Meta, RootFact
from otel_realtime.calls.rows import NS_PER_MS, Row

START_NS = 1_795_766_400_123_000_000
ROOT_ID = "80093eecadff98ad"
THREAD = "thread-1"


def at(ms: int) -> int:
    """A time of the call, epoch ns."""
    return START_NS + ms * NS_PER_MS


def root(
    messages: list[dict[str, Any]] | None = None, end_ms: int | None = 9_000, **facts: Any
) -> Row:
    """The root; ``messages`` is its transcript, ``facts`` are of ``RootFact``."""
    attributes: dict[str, Any] = {
        names.LS_METADATA + RootFact.THREAD_ID: THREAD,
        names.LS_METADATA + Meta.AGENT_TYPE: "root",
        names.OURS + RootFact.MODEL: "gpt-realtime",
        names.LS_TAGS: "a,b",
        **{names.OURS + key: value for key, value in facts.items()},
    }
    if messages is not None:
        attributes[names.COMPLETION] = json.dumps({"messages": messages})
    return Row(
        span_id=ROOT_ID,
        parent_id=None,
        name=names.ROOT_NAME,
        start_ns=at(0),
        end_ns=None if end_ms is None else at(end_ms),
        attributes=attributes,
    )


def turn(
    role: str, number: int, start_ms: int, end_ms: int, text: str, **more: Any
) -> dict[str, Any]:
    """A message of the root's transcript."""
    return {
        "role": role,
        "content": text,
        "turn": number,
        "start_ms": start_ms,
        "end_ms": end_ms,
        "text": text,
        "heard_text": text,
        "interrupted": False,
        **more,
    }


def event(ms: int, payload: dict[str, Any], *, failed: str | None = None, **ids: str) -> Row:
    """The span of an event; ``ids``: ``item``, ``response``, ``call``."""
    keys = {"item": names.ITEM_ID, "response": names.OUR_RESPONSE_ID, "call": names.CALL_ID}
    return Row(
        span_id=f"e{ms:07}{abs(hash(json.dumps(payload))) % 10**8:08}",
        parent_id=ROOT_ID,
        name=payload["type"],
        start_ns=at(ms),
        end_ns=at(ms) + 1,
        failed=failed is not None,
        message=failed,
        attributes={
            names.EVENT_TYPE: payload["type"],
            names.OURS + Fact.AUDIO_OFFSET: ms,
            names.PROMPT: json.dumps({"event": payload}),
            **{keys[kind]: value for kind, value in ids.items()},
        },
    )


SPOKEN = "conversation.item.input_audio_transcription.completed"


def asked(ms: int, item: str, words: str) -> Row:
    """The transcript of what the user said."""
    return event(ms, {"type": SPOKEN, "transcript": words}, item=item)


def said(ms: int, response: str, item: str, words: str) -> Row:
    """The transcript of what the agent said."""
    payload = {"type": "response.output_audio_transcript.done", "transcript": words}
    return event(ms, payload, item=item, response=response)


def made(ms: int, response: str, item: str) -> Row:
    """The event that says which response an item is of."""
    payload = {"type": "response.output_item.added", "item": {"id": item, "type": "message"}}
    return event(ms, payload, item=item, response=response)


def chat(start_ms: int, end_ms: int, response: str, tokens: int = 10, **facts: Any) -> Row:
    """The span of a response; ``facts`` are of ``Fact``, dots written as two underscores."""
    told = {names.OURS + key.replace("__", "."): value for key, value in facts.items()}
    return Row(
        span_id=f"c{start_ms:015}",
        parent_id=ROOT_ID,
        name="chat gpt-realtime",
        start_ns=at(start_ms),
        end_ns=at(end_ms),
        attributes={
            names.OPERATION: "chat",
            names.RESPONSE_ID: response,
            names.OUR_RESPONSE_ID: response,
            names.RESPONSE_MODEL: "gpt-realtime",
            names.RESPONSE_STATUS: "completed",
            names.USAGE + "input_tokens": tokens,
            names.USAGE + "output_tokens": 2 * tokens,
            names.USAGE + "audio.input_tokens": tokens // 2,
            names.USAGE + "audio.cache_read.input_tokens": 1,
            **told,
        },
    )


def tool(start_ms: int, end_ms: int, call: str, parent: str, **more: Any) -> Row:
    """The span of a tool call; ``more`` are members of the row."""
    attributes = {
        names.TOOL_NAME: "look_up",
        names.TOOL_TYPE: names.TOOL_FUNCTION,
        names.TOOL_CALL_ID: call,
        names.TOOL_ARGUMENTS: '{"city": "Paris"}',
        names.TOOL_RESULT: '"sunny"',
        names.OURS + Fact.TOOL_WAITED: end_ms - start_ms,
        names.OURS + Fact.TOOL_TIMING: names.TIMING_WIRE,
    }
    return Row(
        **{
            "span_id": f"t{start_ms:015}",
            "parent_id": parent,
            "name": "execute_tool look_up",
            "start_ns": at(start_ms),
            "end_ns": at(end_ms),
            "attributes": attributes,
            **more,
        }
    )
