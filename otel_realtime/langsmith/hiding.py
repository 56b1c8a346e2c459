"""Removes data from the copies of other instrumentations' spans before this process delivers them.

Our own spans are written without credentials, and without inputs or outputs that are hidden. Spans of
other instrumentations that belong to a conversation (a model call inside a tool, an HTTP request) are
not, and the app's own exporters send them as they are. The copies for LangSmith follow our rules:

- credentials are replaced, as everywhere (``otel_realtime.credentials``);
- ``LANGSMITH_HIDE_INPUTS`` and ``LANGSMITH_HIDE_OUTPUTS`` empty a run's inputs and outputs, as
  LangSmith's client does with its own runs: https://docs.langchain.com/langsmith/mask-inputs-outputs
- with content off (``Settings.capture_content``) both are emptied.

Each convention has its own attributes for inputs and outputs, and new ones appear. So the side is
recognised by the words in an attribute's name; a few names without such a word are listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event

from otel_realtime.attributes import COMPLETION, LS_ATTACHMENTS, OUTPUT_TYPE
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.credentials import SECRET, names_secret, without_secrets

INPUT, OUTPUT = "input", "output"
_BOTH: Final = frozenset({INPUT, OUTPUT})
#: Word of an attribute's name -> the side it refers to.
_WORDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("input", "inputs", "prompt", "prompts", "arguments", "args", "instructions",
         "definitions", "tools", "functions"),
        INPUT,
    ),
    **dict.fromkeys(
        ("output", "outputs", "completion", "completions", "result", "results", "documents"),
        OUTPUT,
    ),
}  # fmt: skip
#: Words that mean content, but not whose: both sides, unless another word says which.
_EITHER: Final = frozenset({"messages", "transcript"})
#: Names without such a word (Logfire, LiveKit, Google's ADK, Vercel's AI SDK, OpenInference).
_NAMES: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(
        ("request_data", "gcp.vertex.agent.llm_request", "lk.chat_ctx", "tool.parameters",
         "model_request_parameters", "retrieval.query"),
        frozenset({INPUT}),
    ),
    **dict.fromkeys(
        ("response_data", "gcp.vertex.agent.llm_response", "gcp.vertex.agent.tool_response",
         "lk.response.text", "lk.response.function_calls", "ai.response.text",
         "ai.response.toolCalls", "ai.response.object"),
        frozenset({OUTPUT}),
    ),
    "events": _BOTH,
    LS_ATTACHMENTS: _BOTH,
    OUTPUT_TYPE: frozenset(),  # "text", "speech"
}  # fmt: skip
#: Last words of the name of a message's event: https://github.com/open-telemetry/semantic-conventions-genai
_MESSAGES: Final[Mapping[str, frozenset[str]]] = {
    "system.message": frozenset({INPUT}),
    "user.message": frozenset({INPUT}),
    "content.prompt": frozenset({INPUT}),
    # Messages of an earlier turn are inputs, but LangSmith shows them as outputs.
    "assistant.message": _BOTH,
    "tool.message": _BOTH,
    "choice": frozenset({OUTPUT}),
    "content.completion": frozenset({OUTPUT}),
}
_SPLIT: Final = re.compile(r"[^A-Za-z]+|(?<=[a-z])(?=[A-Z])")


@lru_cache(maxsize=2048)
def sides_of(name: str) -> frozenset[str]:
    """Return which sides an attribute of this name holds: ``INPUT``, ``OUTPUT``, both or none."""
    listed = _NAMES.get(name)
    if listed is not None:
        return listed
    words = {word.lower() for word in _SPLIT.split(name[:256])}
    sides = frozenset(_WORDS[word] for word in words & _WORDS.keys())
    return sides or (_BOTH if words & _EITHER else frozenset())


def hidden_sides(policy: ContentPolicy) -> frozenset[str]:
    """Return the sides that must not leave: those hidden by variables, or both if content is off."""
    sides = ((INPUT, policy.inputs), (OUTPUT, policy.outputs))
    return frozenset(side for side, may_leave in sides if not may_leave)


def without_sides(attributes: Mapping[str, Any], hidden: frozenset[str]) -> dict[str, Any]:
    """Return attributes without those that hold a hidden side; numbers and flags stay.

    Hidden outputs stay as an empty object: LangSmith drops the usage of a run without outputs.
    """
    kept = {
        name: value
        for name, value in attributes.items()
        if isinstance(value, bool | int | float) or not sides_of(name) & hidden
    }
    if OUTPUT in hidden and any(
        OUTPUT in sides_of(name) for name in attributes.keys() - kept.keys()
    ):
        kept[COMPLETION] = "{}"
    return kept


def events_without_sides(events: Iterable[Event], hidden: frozenset[str]) -> Iterator[Event]:
    """Yield events without those that are messages of a hidden side.

    An exception keeps its type. Its text is hidden, because it may quote either side.
    """
    for event in events:
        sides = next((_MESSAGES[end] for end in _MESSAGES if event.name.endswith("." + end)), None)
        if sides is not None and sides & hidden:
            continue
        attributes = dict(event.attributes or {})
        if event.name == "exception":
            attributes.pop("exception.stacktrace", None)
            if "exception.message" in attributes:
                attributes["exception.message"] = HIDDEN
        kept = without_sides(attributes, hidden)
        if COMPLETION not in attributes:  # it belongs to a run, not to an event
            kept.pop(COMPLETION, None)
        yield Event(event.name, kept, event.timestamp)


def clean(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes without credentials."""
    return {
        # Attachments are base64, which need not be searched.
        name: value if name == LS_ATTACHMENTS else _clean(name, value)
        for name, value in attributes.items()
    }


def _clean(name: str, value: Any) -> Any:
    if value and not isinstance(value, bool | int | float) and names_secret(name):
        return SECRET
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return clean(value)
    if isinstance(value, list | tuple):
        return [_clean(name, item) for item in value]
    return value


def clean_events(events: Iterable[Event]) -> Iterator[Event]:
    """Yield events without credentials, in exceptions' messages and stack traces too."""
    for event in events:
        yield Event(event.name, clean(event.attributes or {}), event.timestamp)


class Resources:
    """Removes credentials from resources, which LangSmith shows as metadata of each run.

    A provider has one resource, so the last one is remembered: hashing a resource costs more than a
    span does.
    """

    def __init__(self) -> None:
        self._last: tuple[Resource, Resource] | None = None

    def cleaned(self, resource: Resource) -> Resource:
        """Return the resource, or a copy without the credentials in it."""
        last = self._last
        if last is None or last[0] is not resource:
            attributes = clean(resource.attributes)
            last = (resource, Resource(attributes, resource.schema_url))
            if last[1] == resource:
                last = (resource, resource)
            self._last = last
        return last[1]


#: The instance of this process.
RESOURCES: Final = Resources()
