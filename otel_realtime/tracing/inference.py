"""A model response as one ``chat`` span: messages, usage, latencies, what was heard of it."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.trace import SpanKind

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact, Meta
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.json_values import text_or_none
from otel_realtime.core.protocol.latency import ResponseAudio, response_audio
from otel_realtime.core.protocol.messages import (
    NS_PER_MS,
    chat_messages,
    convention_messages,
    request_messages,
)
from otel_realtime.core.protocol.outcome import Failure, Provider
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.core.protocol.responses import AudioFacts, Response
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.core.protocol.usage import Usage, read_usage
from otel_realtime.tracing.facts import LS_PROVIDERS, Attributes, product_facts, usage_facts
from otel_realtime.tracing.failure import fail, told
from otel_realtime.tracing.tool import write_mcp_call
from otel_realtime.tracing.writer import SpanWriter, finish


@dataclass(slots=True)
class Inference:
    """One settled model call, ready to become a span."""

    name: str
    attributes: Attributes
    failure: Failure | None
    sound: ResponseAudio
    tokens: Usage | None


def describe_inference(
    response: Response,
    state: ConversationState,
    audio: AudioFacts | None,
    policy: ContentPolicy,
    provider: Provider,
    limit: int,
) -> Inference:
    """A response as one ``chat`` span: messages, usage, latencies, what was heard."""
    model = text_or_none(response.config.get("model")) or state.session.model or "unknown"
    outputs = response.output_items(state.items)
    usage = read_usage(response.usage)
    sound = response_audio(response, state, audio)
    turn = max((item.turn for item in outputs), default=0) or response.turn
    found: Attributes = {
        names.LS_KIND: names.KIND_LLM,
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
        **_messages(response, state, outputs, policy, limit),
        **_request(response, state),
        **usage_facts(usage, limit),
        **product_facts(
            {
                Fact.TURN: turn or None,
                Fact.AUDIO_OFFSET: response.created.t // NS_PER_MS,
                Fact.TIME_TO_FIRST_AUDIO: sound.first_audio_ms,
                Fact.VOICE_TO_VOICE: sound.voice_to_voice_ms,
                Fact.CONTEXT_ITEMS: response.context_items,
                Fact.GENERATED: sound.generated_ms,
                Fact.HEARD: sound.heard_ms,
                Fact.HEARD_SOURCE: sound.heard_source,
                Fact.INTERRUPTED: sound.interrupted if sound.heard_source else None,
            }
        ),
    }
    if response.status_reason:
        found[names.RESPONSE_STATUS_REASON] = response.status_reason
        found[names.LS_METADATA + Meta.STATUS_REASON] = response.status_reason
    if response.out_of_band:
        found.update(product_facts({Fact.OUT_OF_BAND: True}))
    return Inference(
        name=f"chat {model}",
        attributes=found,
        failure=_response_failure(response, policy),
        sound=sound,
        tokens=usage,
    )


def _messages(
    response: Response,
    state: ConversationState,
    outputs: list[Item],
    policy: ContentPolicy,
    limit: int,
) -> Attributes:
    inputs = [item for item in map(state.items.get, response.inputs) if item is not None]
    asked = chat_messages(inputs, policy)
    if response.out_of_band and policy.inputs:
        asked += request_messages(response)
    answered = chat_messages(outputs, policy)
    return {
        names.PROMPT: dump({"messages": asked}, limit),
        names.COMPLETION: dump({"messages": answered}, limit),
        names.INPUT_MESSAGES: dump(convention_messages(inputs, policy), limit),
        names.OUTPUT_MESSAGES: dump(convention_messages(outputs, policy), limit),
    }


def _request(response: Response, state: ConversationState) -> Attributes:
    found: Attributes = {}
    config = {**state.session.config, **response.config}
    temperature = _amount(config.get("temperature"))
    if temperature is not None:
        found[names.REQUEST_TEMPERATURE] = float(temperature)
    for key in ("max_output_tokens", "max_response_output_tokens"):
        value = _amount(config.get(key))
        if value is not None:
            found[names.REQUEST_MAX_TOKENS] = int(value)
    return found


def _amount(value: object) -> int | float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53:
        return value
    return None


def _response_failure(response: Response, policy: ContentPolicy) -> Failure | None:
    if response.status == "failed":
        what = response.status_reason or "failed"
        return Failure(what, told(response.error_message, policy) or what)
    if response.done is None:
        return Failure("conversation_closed", "the conversation ended before response.done")
    return None


def write_inference(
    writer: SpanWriter,
    response: Response,
    state: ConversationState,
    audio: AudioFacts | None,
    now_ns: int,
) -> Inference:
    """Write a settled response as one span, with its server-side tool calls below it.

    Args:
        writer: of the conversation.
        response: the response.
        state: the conversation it stands in.
        audio: what is known of its sound.
        now_ns: its end if ``response.done`` never came, epoch ns.
    """
    found = describe_inference(response, state, audio, writer.policy, writer.provider, writer.limit)
    start_ns = response.created.at_ns
    end_ns = max(response.done.at_ns if response.done else now_ns, start_ns)
    span = writer.start(found.name, writer.root, found.attributes, start_ns, SpanKind.CLIENT)
    if found.failure is not None:
        fail(span, found.failure, end_ns)
    for call in response.mcp.values():
        item = state.items.get(call.item_id)
        if item is not None:
            write_mcp_call(writer, call, item, span, end_ns, response.turn)
    finish(span, end_ns)
    return found
