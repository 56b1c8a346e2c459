"""A model response as one ``chat`` span: messages, usage, latencies, and how much was heard.

The span lasts from ``response.created`` to ``response.done``
(https://platform.openai.com/docs/api-reference/realtime-server-events/response) and follows the
convention for model calls:
https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-spans.md
"""

from __future__ import annotations

from dataclasses import dataclass, field

from opentelemetry.trace import SpanKind

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact, Meta
from otel_realtime.core.protocol.asked import instructions, read_items, tools
from otel_realtime.core.protocol.events import JsonObject
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.json_values import object_or_empty, text_or_none
from otel_realtime.core.protocol.latency import ResponseAudio, response_audio
from otel_realtime.core.protocol.messages import (
    NS_PER_MS,
    chat_messages,
    choices,
    convention_messages,
    visible_text,
)
from otel_realtime.core.protocol.outcome import Failure, Provider
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.core.protocol.responses import AudioFacts, Response
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.core.protocol.usage import Usage, read_usage
from otel_realtime.tracing.facts import LS_PROVIDERS, Attributes, product_facts, usage_facts
from otel_realtime.tracing.failure import fail, stored_message
from otel_realtime.tracing.mcp import failure_of, write_mcp_call
from otel_realtime.tracing.span_ids import response_key
from otel_realtime.tracing.tool_facts import UNKNOWN
from otel_realtime.tracing.writer import SpanWriter, finish


@dataclass(slots=True)
class Inference:
    """A settled response, ready to become a span.

    Attributes:
        name: name of the span.
        attributes: its attributes.
        failure: what went wrong; ``None`` if nothing did.
        sound: generated and heard audio, and latencies.
        tokens: usage; ``None`` if the server did not report any.
        server_tools: calls that the server itself made (MCP): seconds, name, type of failure.
    """

    name: str
    attributes: Attributes
    failure: Failure | None
    sound: ResponseAudio
    tokens: Usage | None
    server_tools: list[tuple[float, str, str | None]] = field(default_factory=list)


def describe_inference(
    response: Response,
    state: ConversationState,
    audio: AudioFacts | None,
    policy: ContentPolicy,
    provider: Provider,
    limit: int,
) -> Inference:
    """Return a response as the contents of a ``chat`` span.

    Args:
        response: the response.
        state: the conversation it belongs to.
        audio: facts about its audio; ``None`` without audio.
        policy: which content may be stored.
        provider: the service that runs the model.
        limit: maximum characters of JSON per attribute.
    """
    model = (
        text_or_none(response.config.get("model"))
        or response.session_model
        or state.session.model
        or "unknown"
    )
    outputs = response.output_items(state.items)
    usage = read_usage(response.usage)
    sound = response_audio(response, state, audio)
    unfinished = any(item.unfinished for item in outputs)
    turn = max((item.turn for item in outputs), default=0) or response.turn
    attributes: Attributes = {
        names.LS_KIND: names.KIND_LLM,
        # Backends recognise a model call by this name; the convention's own for realtime calls is
        # not merged: https://github.com/open-telemetry/semantic-conventions-genai/pull/394
        names.OPERATION: "chat",
        names.PROVIDER: provider.name,
        names.SYSTEM: provider.name,
        names.REQUEST_MODEL: model,
        names.RESPONSE_MODEL: model,
        names.RESPONSE_ID: response.id,
        names.OUR_RESPONSE_ID: response.id,
        names.FINISH_REASONS: response.finish_reasons(state.items),
        names.OUTPUT_TYPE: "speech" if any(item.audio for item in outputs) else "text",
        names.LS_METADATA + Meta.PROVIDER: LS_PROVIDERS.get(provider.name, provider.name),
        names.LS_METADATA + Meta.MODEL_NAME: model,
        names.RESPONSE_STATUS: response.status,
        names.LS_METADATA + Meta.STATUS: response.status,
        names.LS_METADATA + Meta.MESSAGE_FORMAT: "completions",
        **_messages(response, state, audio, outputs, policy, limit),
        **_request(response, state, policy),
        **usage_facts(usage, limit),
        **product_facts(
            {
                Fact.TURN: turn or None,
                Fact.AUDIO_OFFSET: response.created.t // NS_PER_MS,
                Fact.TIME_TO_FIRST_AUDIO: sound.first_audio_ms,
                Fact.VOICE_TO_VOICE: sound.voice_to_voice_ms,
                **_latency(sound),
                Fact.CONTEXT_ITEMS: response.context_items,
                Fact.GENERATED: sound.generated_ms,
                Fact.HEARD: sound.heard_ms,
                Fact.HEARD_SOURCE: sound.heard_source,
                **_interruption(sound),
                # Without any audio this is unknown, so the fact is left out rather than false.
                Fact.INTERRUPTED: (
                    sound.interrupted or unfinished
                    if sound.heard_source
                    else unfinished or any(item.cut for item in outputs) or None
                ),
            }
        ),
    }
    if response.status_reason:
        attributes[names.RESPONSE_STATUS_REASON] = response.status_reason
        attributes[names.LS_METADATA + Meta.STATUS_REASON] = response.status_reason
    if response.out_of_band:
        attributes.update(product_facts({Fact.OUT_OF_BAND: True}))
    if response.delegated:
        attributes.update(
            product_facts({Fact.DELEGATED: True, Fact.DELEGATION_ID: response.delegation_id})
        )
    return Inference(
        name=f"chat {model}",
        attributes=attributes,
        failure=_response_failure(response, policy),
        sound=sound,
        tokens=usage,
        server_tools=_server_tools(response, state, policy),
    )


def _server_tools(
    response: Response, state: ConversationState, policy: ContentPolicy
) -> list[tuple[float, str, str | None]]:
    """Return the finished calls that the server itself made: seconds, name, type of failure."""
    found = []
    for call in response.mcp.values():
        item = state.items.get(call.item_id)
        if item is not None and call.ended is not None:
            seconds = max(call.ended.at_ns - call.started.at_ns, 0) / 1e9
            failure = failure_of(call, item, policy)
            found.append((seconds, item.name or UNKNOWN, failure.type if failure else None))
    return found


def _interruption(sound: ResponseAudio) -> dict[str, bool | str]:
    """Return why the answer was cut short, as facts; empty if it was not."""
    cut = sound.interruption
    if cut is None:
        return {}
    return {Fact.INTERRUPTION_CAUSE: cut.cause, Fact.FALSE_INTERRUPTION: cut.false}


def _latency(sound: ResponseAudio) -> dict[str, int | str]:
    """Return the parts of the caller's waiting time, each with its owner, as facts."""
    facts: dict[str, int | str] = {}
    for part in sound.parts:
        facts[f"{Fact.LATENCY}{part.name}_ms"] = part.ms
        facts[f"{Fact.LATENCY}{part.name}_owner"] = part.owner
    return facts


def _messages(
    response: Response,
    state: ConversationState,
    audio: AudioFacts | None,
    outputs: list[Item],
    policy: ContentPolicy,
    limit: int,
) -> Attributes:
    inputs = read_items(response, state.items, state.calls)
    for item in inputs:
        committed = audio.user_item(item.id) if audio is not None and item.audio else None
        if committed is not None:
            item.committed_ms = (committed[1] - committed[0]) // NS_PER_MS
    prompt: JsonObject = {"messages": chat_messages(inputs, policy, results=True)}
    attributes: Attributes = {}
    given = instructions(response)
    if given is not None:
        text = visible_text(given, "system", policy)
        prompt["messages"].insert(0, {"role": "system", "content": text})
        attributes[names.SYSTEM_INSTRUCTIONS] = dump([{"type": "text", "content": text}], limit)
    offered = tools(response)
    if offered is not None:
        # Names and schemas are the developer's content.
        prompt["tools"] = offered if policy.inputs else HIDDEN
        attributes[names.TOOL_DEFINITIONS] = dump(prompt["tools"], limit)
    (reason,) = response.finish_reasons(state.items)
    # Both forms: LangSmith reads the first two, other backends read those of the convention.
    return {
        **attributes,
        names.PROMPT: dump(prompt, limit),
        names.COMPLETION: dump({"choices": choices(outputs, policy, reason)}, limit),
        names.INPUT_MESSAGES: dump(convention_messages(inputs, policy, results=True), limit),
        names.OUTPUT_MESSAGES: dump(convention_messages(outputs, policy), limit),
    }


def _request(response: Response, state: ConversationState, policy: ContentPolicy) -> Attributes:
    config = {**state.session.config, **response.request, **response.config}
    prompt = object_or_empty(config.get("prompt"))
    labels = response.metadata if policy.inputs else {}
    attributes = product_facts(
        {
            Fact.PROMPT_ID: text_or_none(prompt.get("id")),
            Fact.PROMPT_VERSION: text_or_none(prompt.get("version")),
            **{
                Fact.RESPONSE_METADATA + key: value
                for key, value in labels.items()
                if isinstance(value, str | bool | int | float)
            },
        }
    )
    temperature = _number(config.get("temperature"))
    if temperature is not None:
        attributes[names.REQUEST_TEMPERATURE] = float(temperature)
    for key in ("max_output_tokens", "max_response_output_tokens"):  # the second is the beta's name
        value = _number(config.get(key))
        if value is not None:
            attributes[names.REQUEST_MAX_TOKENS] = int(value)
    effort = text_or_none(object_or_empty(config.get("reasoning")).get("effort"))
    if effort is not None:
        attributes[names.REQUEST_REASONING] = effort
    return attributes


def _number(value: object) -> int | float | None:
    """Return a number that an attribute can hold; the legal limit ``"inf"`` is not one."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53:
        return value
    return None


def _response_failure(response: Response, policy: ContentPolicy) -> Failure | None:
    if response.status == "failed":
        code = response.status_reason or "failed"
        return Failure(code, stored_message(response.error_message, policy) or code)
    if response.done is None:
        what = "conversation ended" if response.lost is None else "connection closed"
        return Failure("conversation_closed", f"the {what} before response.done")
    return None


def write_inference(
    writer: SpanWriter,
    response: Response,
    state: ConversationState,
    audio: AudioFacts | None,
    now_ns: int,
) -> Inference:
    """Write a settled response as one span, with its server-side tool calls as children.

    Called with the conversation's lock held, on the writer thread or, at the close, on the app's.

    Args:
        writer: the conversation's span writer.
        response: the response.
        state: the conversation it belongs to.
        audio: facts about its audio.
        now_ns: end of the span if ``response.done`` never came, epoch ns.

    Returns:
        The contents of the span.
    """
    inference = describe_inference(
        response, state, audio, writer.policy, writer.provider, writer.limit
    )
    inference.attributes.update(writer.connection(response.session_id or state.session.id))
    start_ns = response.created.at_ns
    end_ns = max(response.ended.at_ns if response.ended else now_ns, start_ns)
    span = writer.start(
        inference.name,
        writer.root,
        inference.attributes,
        start_ns,
        SpanKind.CLIENT,
        key=response_key(response.id),
    )
    if inference.failure is not None:
        fail(span, inference.failure, end_ns)
    for call in response.mcp.values():
        item = state.items.get(call.item_id)
        if item is not None:
            below = writer.context_below(span)
            closed_ns = now_ns if response.status == "completed" else end_ns
            write_mcp_call(writer, call, item, below, closed_ns, response.turn, start_ns)
    finish(span, end_ns)
    return inference
