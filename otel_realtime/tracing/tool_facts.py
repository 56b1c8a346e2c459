"""The contents of a tool's span: name, arguments, result, and how long the model waited for it.

Convention: https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/execute-tool.md
"""

from __future__ import annotations

import json
from typing import Final

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.json_values import text_or_none
from otel_realtime.core.protocol.messages import NS_PER_MS, visible_text
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.tracing.facts import Attributes, product_facts

#: Name of a tool whose name is not known.
UNKNOWN: Final = "unknown"


def admitted_arguments(
    call_id: str | None, name: str | None, arguments: str, policy: ContentPolicy
) -> str:
    """Return arguments that the app passed to ``call.tool()`` as they may be stored.

    The policy, and with it ``Settings.redact``, applies to them in the shape of a conversation item.
    """
    item = {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
    stored, _ = policy.apply(item)
    return text_or_none(stored.get("arguments")) or ""


def tool_attributes(
    call_id: str | None, name: str, arguments: str | None, policy: ContentPolicy, limit: int
) -> Attributes:
    """Return the attributes that a tool span starts with.

    Args:
        call_id: id of the model's call; ``None`` for a tool that the model did not call.
        name: name of the tool.
        arguments: JSON text of the arguments; ``None`` if they are unknown.
        policy: which content may be stored.
        limit: maximum characters of JSON per attribute.
    """
    attributes: Attributes = {
        names.LS_KIND: names.KIND_TOOL,
        names.OPERATION: "execute_tool",
        names.TOOL_NAME: name,
        names.TOOL_TYPE: names.TOOL_FUNCTION,
    }
    if call_id:
        attributes[names.TOOL_CALL_ID] = attributes[names.CALL_ID] = call_id
    if arguments is not None:
        text = _json_text(visible_text(arguments, "assistant", policy), limit)
        attributes[names.PROMPT] = attributes[names.TOOL_ARGUMENTS] = text
    return attributes


def tool_result(output: str | None, policy: ContentPolicy, limit: int) -> Attributes:
    """Return the attributes that a tool span gets with its result; empty without a result."""
    if output is None:
        return {}
    text = _json_text(visible_text(output, "tool", policy), limit)
    return {names.COMPLETION: text, names.TOOL_RESULT: text}


def _json_text(text: str, limit: int) -> str:
    """Return arguments or a result as valid JSON: JSON unchanged, other text as a JSON string."""
    try:
        value = json.loads(text, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return dump(text, limit)
    # Text beyond ASCII may hold lone surrogates, which do not encode: ``dump`` replaces them.
    return text if len(text) <= limit and text.isascii() else dump(value, limit)


def _reject_constant(constant: str) -> None:
    # Python's parser accepts NaN and Infinity, which JSON does not have:
    # https://www.rfc-editor.org/rfc/rfc8259#section-6
    raise ValueError(f"{constant} is not JSON")


def timing_facts(timing: str, asked: Moment | None, until_ns: int | None) -> Attributes:
    """Return how a tool's times were determined, and how long the model waited for its result.

    Args:
        timing: one of ``names.TIMING_*``.
        asked: when the arguments were complete; ``None`` for a tool that the model did not call.
        until_ns: when the result was sent, or could no longer be sent, epoch ns.
    """
    return {**product_facts({Fact.TOOL_TIMING: timing}), **waited_facts(asked, until_ns)}


def waited_facts(asked: Moment | None, until_ns: int | None) -> Attributes:
    """Return how long an answer was waited for; empty if that is not known.

    Args:
        asked: when it was asked for.
        until_ns: when it came, or could no longer come, epoch ns.
    """
    if asked is None or until_ns is None:
        return {}
    return product_facts({Fact.TOOL_WAITED: max(until_ns - asked.at_ns, 0) // NS_PER_MS})
