"""The GenAI convention as far as we follow it: its JSON schemas, and the status of each of its names.

Transcribed in short from https://github.com/open-telemetry/semantic-conventions-genai
(``model/gen-ai/gen-ai-*-messages.json``, ``gen-ai-system-instructions.json``,
``gen-ai-tool-definitions.json`` and the registry of attributes), as of November 2026. Stricter in one
point: a part of a type that the convention does not know must be called ``generic``, as proposed in
pull request 584.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

TEXT = {"type": "string"}
MAYBE_TEXT = {"type": ["string", "null"]}


def _part(kind: str, required: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    properties = {"type": {"const": kind}, **required, **more}
    return {"type": "object", "properties": properties, "required": ["type", *required]}


_MEDIA = {"mime_type": MAYBE_TEXT, "transcript": MAYBE_TEXT}
_PART = {
    "anyOf": [
        _part("text", {"content": TEXT}),
        _part("tool_call", {"name": TEXT}, id=MAYBE_TEXT, arguments={}),
        _part("tool_call_response", {"response": {}}, id=MAYBE_TEXT),
        _part("server_tool_call", {"name": TEXT, "server_tool_call": {"required": ["type"]}}),
        _part("server_tool_call_response", {"server_tool_call_response": {"required": ["type"]}}),
        _part("blob", {"modality": TEXT, "content": TEXT}, **_MEDIA),
        _part("file", {"modality": TEXT, "file_id": TEXT}, **_MEDIA),
        _part("uri", {"modality": TEXT, "uri": TEXT}, **_MEDIA),
        _part("reasoning", {"content": TEXT}),
        _part("compaction", {}, id=MAYBE_TEXT, content=MAYBE_TEXT),
        _part("generic", {}),
    ]
}
_MESSAGES = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "role": TEXT,
            "parts": {"type": "array", "items": _PART},
            "name": MAYBE_TEXT,
            "finish_reason": MAYBE_TEXT,
        },
        "required": ["role", "parts"],
    },
}
_TOOL = {
    "type": "object",
    "properties": {"type": TEXT, "name": TEXT, "description": MAYBE_TEXT},
    "required": ["type", "name"],
}
#: Attribute -> the schema of its JSON text.
SCHEMAS: Mapping[str, Draft202012Validator] = {
    name: Draft202012Validator(schema)
    for name, schema in {
        "gen_ai.input.messages": _MESSAGES,
        "gen_ai.output.messages": _MESSAGES,
        "gen_ai.system_instructions": {"type": "array", "items": _part("text", {"content": TEXT})},
        "gen_ai.tool.definitions": {"type": "array", "items": _TOOL},
    }.items()
}

DEVELOPMENT, DEPRECATED, PROPOSED = "development", "deprecated", "proposed in #"
#: Every name of the convention that we write: its status, or the pull request that proposes it. What
#: is deprecated is written for LangSmith, whose mapping reads it.
STATUS: Mapping[str, str] = {
    "gen_ai.completion": DEPRECATED,
    "gen_ai.prompt": DEPRECATED,
    "gen_ai.system": DEPRECATED,
    "gen_ai.agent.name": DEVELOPMENT,
    "gen_ai.conversation.id": DEVELOPMENT,
    "gen_ai.input.messages": DEVELOPMENT,
    "gen_ai.operation.name": DEVELOPMENT,
    "gen_ai.output.messages": DEVELOPMENT,
    "gen_ai.output.type": DEVELOPMENT,
    "gen_ai.provider.name": DEVELOPMENT,
    "gen_ai.realtime_session.id": PROPOSED + "394",
    "gen_ai.request.max_tokens": DEVELOPMENT,
    "gen_ai.request.model": DEVELOPMENT,
    "gen_ai.request.reasoning.level": DEVELOPMENT,
    "gen_ai.request.temperature": DEVELOPMENT,
    "gen_ai.response.finish_reasons": DEVELOPMENT,
    "gen_ai.response.id": DEVELOPMENT,
    "gen_ai.response.model": DEVELOPMENT,
    "gen_ai.system_instructions": DEVELOPMENT,
    "gen_ai.token.type": DEVELOPMENT,
    "gen_ai.token.modality": PROPOSED + "374",
    "gen_ai.tool.call.arguments": DEVELOPMENT,
    "gen_ai.tool.call.id": DEVELOPMENT,
    "gen_ai.tool.call.result": DEVELOPMENT,
    "gen_ai.tool.definitions": DEVELOPMENT,
    "gen_ai.tool.name": DEVELOPMENT,
    "gen_ai.tool.type": DEVELOPMENT,
    "gen_ai.usage.cache_read.input_tokens": DEVELOPMENT,
    "gen_ai.usage.input_tokens": DEVELOPMENT,
    "gen_ai.usage.output_tokens": DEVELOPMENT,
    "gen_ai.usage.reasoning.output_tokens": DEVELOPMENT,
    **{
        f"gen_ai.usage.{modality}.{kind}_tokens": PROPOSED + "394"
        for modality in ("audio", "text", "image")
        for kind in ("input", "output", "cache_read.input")
    },
    # Metrics
    "gen_ai.client.operation.duration": DEVELOPMENT,
    "gen_ai.client.operation.time_to_first_chunk": DEVELOPMENT,
    "gen_ai.client.token.usage": DEVELOPMENT,
    "gen_ai.execute_tool.duration": DEVELOPMENT,
}
