"""The call object: its types, its version, and its JSON Schema.

The version follows the same rule as the on-disk format: within a version, only optional members are
added, so a reader must ignore members that it does not know.

- All ``*_ms`` offsets are milliseconds into the recording, which starts with the root span.
- An unknown value is null, never guessed. A value that the settings hide is replaced by a marker, as
  on the spans.
- ``index`` is an object's position in its list; other lists refer to the object by this index.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Final, Literal, TypedDict

#: Value of ``Call.schema``.
SCHEMA: Final = "otel-realtime/call"
#: Value of ``Call.version``.
VERSION: Final = 1

Role = Literal["user", "assistant"]
Status = Literal["ok", "error"]


class Close(TypedDict):
    """The close frame that was received: https://www.rfc-editor.org/rfc/rfc6455#section-7.4"""

    code: int | None
    reason: str


class Spread(TypedDict):
    """Median, 95th percentile (nearest rank) and maximum, ms."""

    p50: int | None
    p95: int | None
    max: int | None


class Facts(TypedDict):
    """Facts of the whole call; seconds and counts are those of the root span.

    ``voice_to_voice_ms``: from the end of the user's speech to the first audible sample of the
    answer. ``first_audio_ms``: from ``response.created`` to the first audio that arrived.
    """

    turns: int | None
    responses: int | None
    interruptions: int | None
    false_interruptions: int | None
    tool_calls: int | None
    server_errors: int | None
    user_talk_s: float | None
    agent_talk_s: float | None
    overlap_s: float | None
    dead_air_s: float | None
    longest_silence_s: float | None
    agent_over_user_s: float | None
    voice_to_voice_ms: Spread
    first_audio_ms: Spread


class InputTokens(TypedDict):
    """Input tokens; ``cached`` is a part of ``total``, ``cached_text`` of ``text``, and so on."""

    total: int | None
    text: int | None
    audio: int | None
    image: int | None
    cached: int | None
    cached_text: int | None
    cached_audio: int | None
    cached_image: int | None


class OutputTokens(TypedDict):
    """Output tokens; ``reasoning`` is a part of ``text``."""

    total: int | None
    text: int | None
    audio: int | None
    reasoning: int | None


class Usage(TypedDict):
    """Usage of model calls; ``seconds`` of audio where a model is billed by duration."""

    model: str
    input: InputTokens
    output: OutputTokens
    seconds: float | None


class Recording(TypedDict):
    """The recording: its first channel is the user, its second the agent.

    ``file`` is the file's name beside the object.
    """

    file: str
    mime: str
    duration_ms: int | None
    sample_rate: int | None
    channels: list[str]


class LatencyPart(TypedDict):
    """One part of a wait.

    ``cause``: ``end_of_speech``, ``request``, ``response``, ``model``, ``tools``, ``approval`` or
    ``playback``. ``owner``: who can shorten it: ``setting``, ``app``, ``service`` or ``tool``.
    """

    cause: str
    ms: int
    owner: str | None


class Latency(TypedDict):
    """The wait for an answer, from the end of the user's speech; the parts add up to it."""

    total_ms: int
    parts: list[LatencyPart]


class _Turn(TypedDict):
    index: int
    role: Role
    start_ms: int | None
    end_ms: int | None
    text: str
    heard_text: str
    interrupted: bool
    false_interruption: bool | None
    generated_ms: int | None
    heard_ms: int | None
    heard_source: str | None
    item_ids: list[str]
    responses: list[int]
    tools: list[int]
    latency: Latency | None
    usage: Usage | None


class Turn(_Turn, total=False):
    """A maximal run of items of one role.

    ``heard_text`` is the part of ``text`` that was heard, estimated from the share of the audio that
    was played. ``segments``: who said what when (in seconds, as the transcription gives them), if the
    transcription distinguishes speakers.
    """

    segments: list[dict[str, Any]]


class Response(TypedDict):
    """A response of the model; ``first_audio_ms`` counts from ``start_ms``.

    ``turn``: the turn that it was said in or led to; null for a response outside of the conversation.
    """

    index: int
    id: str | None
    span_id: str
    model: str | None
    status: str | None
    reason: str | None
    start_ms: int
    end_ms: int | None
    first_audio_ms: int | None
    generated_ms: int | None
    heard_ms: int | None
    interrupted: bool | None
    out_of_band: bool
    usage: Usage | None
    error: str | None
    turn: int | None


class Tool(TypedDict):
    """A tool call; ``arguments`` and ``result`` are JSON values, or text if they are not JSON."""

    index: int
    call_id: str | None
    span_id: str
    name: str
    type: Literal["function", "mcp"]
    start_ms: int
    end_ms: int | None
    waited_ms: int | None
    timing: str | None
    arguments: Any
    result: Any
    error: str | None
    response: int | None
    turn: int | None


class Interruption(TypedDict):
    """One interruption of an answer; ``false``: the agent stopped, but the user said nothing."""

    at_ms: int | None
    turn: int | None
    false: bool
    generated_ms: int | None
    heard_ms: int | None


class CallError(TypedDict):
    """An ``error`` event of the server, or an event named ``*.failed``."""

    at_ms: int
    type: str | None
    code: str | None
    message: str | None
    span_id: str


class Redaction(TypedDict):
    """A stretch of the recording that was silenced afterwards.

    ``side``: ``user``, ``agent`` or ``both``; ``why``: ``call``, ``hook`` or ``command``.
    """

    start_ms: int
    end_ms: int
    side: str
    why: str


class _Call(TypedDict):
    schema: str
    version: int
    id: str
    trace_id: str | None
    thread_id: str | None
    name: str
    project: str | None
    started_at: str
    duration_ms: int | None
    live: bool
    status: Status
    error: str | None
    close: Close
    model: str | None
    voice: str | None
    metadata: dict[str, Any]
    tags: list[str]
    facts: Facts
    usage: list[Usage]
    recording: Recording | None
    turns: list[Turn]
    responses: list[Response]
    tools: list[Tool]
    interruptions: list[Interruption]
    errors: list[CallError]


class Call(_Call, total=False):
    """One call.

    ``id`` is the root run's id in LangSmith, ``trace_id`` is OpenTelemetry's. ``live``: the call has
    not ended.
    """

    redacted: list[Redaction]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the call object."""
    text = resources.files(__package__).joinpath("call.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
