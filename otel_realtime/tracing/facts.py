"""Attributes that several kinds of span share; pure functions that touch no span."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.util.types import AttributeValue

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.messages import NS_PER_MS
from otel_realtime.core.protocol.outcome import Provider
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.core.protocol.usage import Usage, usage_attributes, usage_metadata

#: Attributes of a span, of the types OpenTelemetry allows:
#: https://opentelemetry.io/docs/specs/otel/common/#attribute
Attributes = dict[str, AttributeValue]


#: ``gen_ai.provider.name`` -> ``ls_provider``, where they differ: LangSmith's price map has its own
#: names. https://docs.langchain.com/langsmith/cost-tracking
LS_PROVIDERS: Final[Mapping[str, str]] = {"azure.ai.openai": "azure", "x_ai": "xai"}


#: Attributes that are a span's inputs, and those that are its outputs.
_INPUTS: Final = (
    names.PROMPT, names.INPUT_MESSAGES, names.SYSTEM_INSTRUCTIONS, names.TOOL_DEFINITIONS,
    names.TOOL_ARGUMENTS,
)  # fmt: skip
_OUTPUTS: Final = (names.COMPLETION, names.OUTPUT_MESSAGES, names.TOOL_RESULT)


def is_voice(state: ConversationState) -> bool:
    """Return whether a conversation is a voice conversation, judging by what is known so far.

    Before the first answer, the session decides: answers are speech unless it says otherwise.
    """
    if state.session.transcription_only:
        return False
    if state.items.have_audio:
        return True
    answered = any(response.done is not None for response in state.responses.values())
    return state.session.speaks and not answered


def allowed(attributes: Attributes, policy: ContentPolicy) -> Attributes:
    """Return attributes without those that must be hidden (``LANGSMITH_HIDE_INPUTS``, ``_OUTPUTS``).

    The completion stays as an empty object: LangSmith drops the usage of a run without outputs.
    """
    if policy.run_inputs and policy.run_outputs:
        return attributes
    hidden = (() if policy.run_inputs else _INPUTS) + (() if policy.run_outputs else _OUTPUTS)
    kept = {name: value for name, value in attributes.items() if name not in hidden}
    if names.COMPLETION in hidden and names.COMPLETION in attributes:
        kept[names.COMPLETION] = "{}"
    return kept


def product_facts(facts: Mapping[str, AttributeValue | None]) -> Attributes:
    """Return product facts in both forms: for any backend, and as LangSmith metadata.

    Args:
        facts: values by key (see ``attributes.Fact``); ``None`` values are left out.
    """
    attributes: Attributes = {}
    for key, value in facts.items():
        if value is not None:
            attributes[names.OURS + key] = value
            attributes[names.LS_METADATA + key] = value
    return attributes


def connection_facts(
    provider: Provider, *, session_id: str | None, conversation_id: str | None
) -> Attributes:
    """Return the server and the session of a model call.

    The convention expects these on each inference span:
    https://github.com/open-telemetry/semantic-conventions-genai/pull/394

    Args:
        provider: the service that runs the model.
        session_id: the server's id of the session; ``None`` if unknown.
        conversation_id: the app's own id of the conversation; ``None`` if it gave none.
    """
    facts: dict[str, AttributeValue | None] = {
        names.SERVER_ADDRESS: provider.host,
        names.SERVER_PORT: provider.port,
        names.REALTIME_SESSION_ID: session_id,
        names.CONVERSATION_ID: conversation_id,
    }
    return {name: value for name, value in facts.items() if value}


def usage_facts(usage: Usage | None, limit: int) -> Attributes:
    """Return token counts as ``gen_ai.usage.*`` and as LangSmith's usage metadata.

    Args:
        usage: usage of a model call; ``None`` if the server did not report any.
        limit: maximum characters of JSON per attribute.
    """
    if usage is None:
        return {}
    attributes: Attributes = {
        names.USAGE + key: count for key, count in usage_attributes(usage).items()
    }
    text = dump(usage_metadata(usage))
    if len(text) <= limit:  # truncated JSON would give wrong sums, and a wrong cost in LangSmith
        attributes[names.LS_USAGE] = text
    return attributes


def position_facts(started: Moment, turn: int) -> Attributes:
    """Return the turn a span belongs to, if any, and its offset into the recording."""
    return product_facts({Fact.TURN: turn or None, Fact.AUDIO_OFFSET: started.t // NS_PER_MS})
