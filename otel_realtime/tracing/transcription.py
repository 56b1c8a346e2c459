"""A call of the input transcription model as one ``transcribe`` span, with usage of its own.

The server transcribes each item of user audio with a separate model and reports it by
``conversation.item.input_audio_transcription.completed`` or ``.failed``:
https://platform.openai.com/docs/api-reference/realtime-server-events/conversation/item/input_audio_transcription/completed
"""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import SpanKind

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact, Meta
from otel_realtime.core.protocol.changes import Transcribed
from otel_realtime.core.protocol.events import JsonObject
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.messages import (
    NS_PER_MS,
    audio_part,
    text_part,
    visible_segments,
    visible_text,
)
from otel_realtime.core.protocol.outcome import Failure, Provider
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.core.protocol.usage import audio_seconds, read_usage
from otel_realtime.tracing.facts import LS_PROVIDERS, Attributes, product_facts, usage_facts
from otel_realtime.tracing.failure import event_failure, fail
from otel_realtime.tracing.span_ids import transcription_key
from otel_realtime.tracing.writer import SpanWriter, finish

#: Status of a transcription that was in progress when the conversation ended, as for a response.
INCOMPLETE: Final = "incomplete"


def transcription_attributes(
    change: Transcribed, policy: ContentPolicy, provider: Provider, limit: int
) -> Attributes:
    """Return the attributes of a ``transcribe`` span.

    Args:
        change: the transcription.
        policy: which content may be stored; the text is the user's.
        provider: the service that runs the model.
        limit: maximum characters of JSON per attribute.
    """
    usage = read_usage(change.event.get("usage"))
    text = change.event.get("transcript")
    spoken = text if isinstance(text, str) and text else change.item.text
    transcript = visible_text(spoken, "user", policy)
    # The transcript is this model's output, so its role is ``assistant`` although the user spoke it.
    prompt, completion = {"role": "user"}, {"role": "assistant"}
    heard, part = audio_part(change.item), text_part(transcript)
    said: JsonObject = {**completion, "content": transcript}
    if change.item.segments:  # the speakers, with times
        part["segments"] = said["segments"] = visible_segments(change.item.segments, "user", policy)
    status = {names.RESPONSE_STATUS: INCOMPLETE, names.LS_METADATA + Meta.STATUS: INCOMPLETE}
    return {
        names.LS_KIND: names.KIND_LLM,
        names.OPERATION: "chat",
        names.PROVIDER: provider.name,
        names.SYSTEM: provider.name,
        names.REQUEST_MODEL: change.model,
        names.RESPONSE_MODEL: change.model,
        names.OUTPUT_TYPE: "text",
        names.ITEM_ID: change.item.id,
        names.LS_METADATA + Meta.PROVIDER: LS_PROVIDERS.get(provider.name, provider.name),
        names.LS_METADATA + Meta.MODEL_NAME: change.model,
        # Otherwise LangSmith's trajectory view shows the caller's words as the assistant's.
        names.LS_METADATA + Meta.MESSAGE_VIEW_EXCLUDE: True,
        names.PROMPT: dump({"messages": [{**prompt, "content": heard["content"]}]}, limit),
        names.COMPLETION: dump({"messages": [said]}, limit),
        names.INPUT_MESSAGES: dump([{**prompt, "parts": [heard]}], limit),
        names.OUTPUT_MESSAGES: dump([{**completion, "parts": [part]}], limit),
        **({} if change.ended else status),
        **usage_facts(usage, limit),
        **product_facts(
            {
                Fact.TURN: change.item.turn or None,
                Fact.AUDIO_OFFSET: change.started_t // NS_PER_MS,
                Fact.LANGUAGES: ",".join(change.item.languages) or None,
                Fact.TRANSCRIPTION_SECONDS: audio_seconds(change.event.get("usage")),
            }
        ),
    }


def write_transcription(
    writer: SpanWriter, change: Transcribed, moment: Moment, session_id: str | None = None
) -> Attributes:
    """Write one call of the transcription model as a span.

    Args:
        writer: the conversation's span writer.
        change: the transcription.
        moment: its end.
        session_id: the server's id of the session; ``None`` if unknown.

    Returns:
        The span's attributes.
    """
    attributes = transcription_attributes(change, writer.policy, writer.provider, writer.limit)
    attributes.update(writer.connection(session_id))
    name = f"transcribe {change.model}"
    key = transcription_key(change.item.id, change.event.get("content_index"))
    span = writer.start(name, writer.root, attributes, change.started_ns, SpanKind.CLIENT, key=key)
    end_ns = max(moment.at_ns, change.started_ns)
    if change.failed:
        failure = event_failure(change.event, writer.policy)
        fail(span, failure or Failure("transcription_failed", "no transcript"), end_ns)
    finish(span, end_ns)
    return attributes


def write_interrupted(writer: SpanWriter, state: ConversationState, end: Moment) -> None:
    """Write the transcriptions in progress when the conversation ended, with their text so far.

    Args:
        writer: the conversation's span writer.
        state: the conversation.
        end: its end.
    """
    for change in state.transcripts.unfinished(end):
        write_transcription(writer, change, end, state.session.id)
