"""Scripted servers of Live sessions and of live translation; each event is one of the SDK's own types."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import TypeAdapter

from tests.support.realtime_server import Peer
from tests.support.talking import tone

live_types = pytest.importorskip("openai.types.live", reason="openai has no Live sessions (3.12)")
translation_types = pytest.importorskip(
    "openai.types.realtime.realtime_translation_server_event",
    reason="openai has no live translation (3.24)",
)
from openai.types.live.connect_server_event import ConnectServerEvent  # noqa: E402
from openai.types.live.server_event import ServerEvent  # noqa: E402
from openai.types.realtime.realtime_translation_server_event import (  # noqa: E402
    RealtimeTranslationServerEvent,
)

LIVE: TypeAdapter[Any] = TypeAdapter(ServerEvent)
SIDEBAND: TypeAdapter[Any] = TypeAdapter(ConnectServerEvent)
TRANSLATION: TypeAdapter[Any] = TypeAdapter(RealtimeTranslationServerEvent)

MODEL, BACKEND = "gpt-live-1.1", "gpt-5.1"
SESSION_ID = "live_abc"
PROMPT = "Speak like a pirate."
TOOLS = [{"type": "function", "name": "lookup_weather", "parameters": {"type": "object"}}]
CONFIG: dict[str, Any] = {
    "model": MODEL,
    "instructions": PROMPT,
    "audio": {"output": {"voice": "marin"}},
    "delegation": {
        "type": "responses",
        "responses": {"model": BACKEND, "instructions": "Find out.", "tools": TOOLS},
    },
}
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 0},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 120,
}
ARGUMENTS = '{"city":"Paris"}'
RESULT = '{"sky":"rain"}'
USER_HZ, AGENT_HZ = 330.0, 523.0
#: So much of each side's audio is in a frame.
FRAME_MS = 100


def encoded(raw: bytes) -> str:
    """Audio as it stands on the wire."""
    return base64.b64encode(raw).decode()


def words(ms: int, hz: float) -> Iterator[str]:
    """A tone, frame by frame."""
    raw, size = tone(ms, hz), FRAME_MS * 48
    return (encoded(raw[at : at + size]) for at in range(0, len(raw), size))


class Events:
    """Makes events, numbered, and lets the SDK's types check them."""

    def __init__(self, types: TypeAdapter[Any]) -> None:
        self._types = types
        self._numbers = itertools.count(1)

    def __call__(self, kind: str, **keys: Any) -> dict[str, Any]:
        """An event of the server."""
        event = {"type": kind, **keys}
        reflected = kind in ("session.output_audio.delta", "session.input_audio.append")
        if self._types is TRANSLATION or not reflected:
            event["event_id"] = f"event_{next(self._numbers)}"
        self._types.validate_python(event)
        return event

    def of_response(self, kind: str, **keys: Any) -> dict[str, Any]:
        """An event of the model that a Live session delegates to."""
        return self("response.event", event={"type": kind, **keys}, delegation_id="del_1")


def resource(config: Mapping[str, Any]) -> dict[str, Any]:
    """A Live session as its server describes it."""
    return {"id": SESSION_ID, "expires_at": 2_000_000_000, "status": "active", **config}


def _response(response_id: str, status: str, **keys: Any) -> dict[str, Any]:
    bare = {"id": response_id, "object": "response", "created_at": 1, "model": BACKEND}
    return {**bare, "status": status, "output": [], "tools": [], "instructions": None, **keys}


def _call(status: str, arguments: str) -> dict[str, Any]:
    about = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "lookup_weather"}
    return {**about, "status": status, "arguments": arguments}


def delegated_call(make: Events) -> list[dict[str, Any]]:
    """What the backend does first: it asks for a tool."""
    done = {"item_id": "fc_1", "output_index": 0, "name": "lookup_weather"}
    return [
        make(
            "session.delegation.created",
            delegation={"id": "del_1", "target": "responses", "type": "delegation"},
            offset_ms=1000,
        ),
        make.of_response("response.created", response=_response("resp_1", "in_progress")),
        make.of_response("response.in_progress", response=_response("resp_1", "in_progress")),
        make.of_response(
            "response.output_item.added", output_index=0, item=_call("in_progress", "")
        ),
        make.of_response(
            "response.function_call_arguments.delta",
            item_id="fc_1",
            output_index=0,
            delta=ARGUMENTS,
        ),
        make.of_response("response.function_call_arguments.done", arguments=ARGUMENTS, **done),
        make.of_response(
            "response.output_item.done", output_index=0, item=_call("completed", ARGUMENTS)
        ),
        make.of_response(
            "response.completed", response=_response("resp_1", "completed", usage=USAGE)
        ),
    ]


def delegated_answer(make: Events) -> list[dict[str, Any]]:
    """What it does with the tool's result: it says what the Live model is to speak of."""
    item = {"id": "msg_1", "type": "message", "role": "assistant"}
    part = {"type": "output_text", "text": "Rain in Paris.", "annotations": []}
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return [
        make.of_response("response.created", response=_response("resp_2", "in_progress")),
        make.of_response(
            "response.output_item.added",
            output_index=0,
            item={**item, "status": "in_progress", "content": []},
        ),
        make.of_response("response.output_text.delta", delta="Rain in ", **where),
        make.of_response("response.output_text.delta", delta="Paris.", **where),
        make.of_response("response.output_text.done", text="Rain in Paris.", **where),
        make.of_response(
            "response.output_item.done",
            output_index=0,
            item={**item, "status": "completed", "content": [part]},
        ),
        make.of_response(
            "response.completed", response=_response("resp_2", "completed", usage=USAGE)
        ),
    ]


def heard(make: Events, who: str, *fragments: tuple[int, int, str]) -> list[dict[str, Any]]:
    """A transcript: fragments with their times in ms."""
    kind = f"session.{'input' if who == 'user' else 'output'}_transcript.delta"
    return [make(kind, start_ms=start, end_ms=end, delta=text) for start, end, text in fragments]


def wait_for(peer: Peer, kind: str) -> dict[str, Any]:
    """Wait for an event of the client."""
    while True:
        event: dict[str, Any] = json.loads(peer.recv())
        if event["type"] == kind:
            return event


def live(peer: Peer) -> None:
    """One Live session: a question, a tool, the answer, and one more sentence after a silence."""
    make = Events(LIVE)
    config = wait_for(peer, "session.start")["session"]
    peer.send(make("session.started", session=resource(config)))
    wait_for(peer, "session.input_audio.append")
    peer.send(*heard(make, "user", (200, 500, "What is"), (500, 1000, " the weather in Paris?")))
    peer.send(*delegated_call(make))
    wait_for(peer, "response.create")
    peer.send(*delegated_answer(make))
    for delta in words(600, AGENT_HZ):
        peer.send(make("session.output_audio.delta", delta=delta))
    peer.send(
        make("session.usage.updated", usage={"seconds": 3}, context_window={"usage_ratio": 0.25}),
        make("session.input_audio.muted"),
        make("session.input_audio.unmuted"),
    )
    peer.send(*heard(make, "agent", (1300, 1500, "It rains"), (1500, 1900, " in Paris.")))
    peer.send(*heard(make, "agent", (4000, 4400, " Anything else?")))
    peer.send(
        make("info", code="note", message="nothing"),
        make(
            "error",
            error={"type": "invalid_request_error", "code": "unknown_parameter", "message": "no"},
        ),
    )
    wait_for(peer, "session.close")
    usage = {"seconds": 5, "active_seconds": 4, "paused_seconds": 1}
    peer.send(
        make("session.closed", reason="close_requested", session=resource(config), usage=usage)
    )
    peer.close()


def sideband(peer: Peer) -> None:
    """The second socket of a call by telephone: both sides are reflected, keys are pressed."""
    make = Events(SIDEBAND)
    ulaw = {**CONFIG, "audio": {"format": {"type": "audio/pcmu", "rate": 8000}}}
    peer.send(
        make("session.started", session=resource(ulaw)),
        make("transport.ringing", session_id=SESSION_ID),
        make("transport.answered", session_id=SESSION_ID),
    )
    # The call has been going on for ten seconds; a gap of 200 ms is what the server dropped.
    starts = (10_000, 10_100, 10_400, 10_500)
    said = words(400, USER_HZ)
    began, first = time.monotonic(), starts[0]
    for start, delta in zip(starts, words(400, AGENT_HZ), strict=True):
        time.sleep(max(began + (start + FRAME_MS - first) / 1000 - time.monotonic(), 0))
        peer.send(
            make("session.input_audio.append", audio=next(said)),
            make(
                "session.output_audio.delta", delta=delta, start_ms=start, end_ms=start + FRAME_MS
            ),
        )
    peer.send(*heard(make, "agent", (10_000, 10_600, "Press one.")))
    peer.send(
        make("transport.dtmf.received", event="1"),
        make("transport.dtmf.sent", event="2"),
        make("session.paused"),
        make("session.resumed"),
        make(
            "transport.failed",
            session_id=SESSION_ID,
            error={"type": "call_error", "code": "busy", "message": "the line is busy"},
        ),
    )
    peer.listen()


def translation(peer: Peer) -> None:
    """A lecture in English that is spoken in French; both at once."""
    make = Events(TRANSLATION)
    session: dict[str, Any] = {
        "id": "sess_t",
        "type": "translation",
        "model": "gpt-realtime-translate",
        "expires_at": 2_000_000_000,
        "audio": {"input": {}, "output": {"language": "en"}},
    }
    peer.send(make("session.created", session=session))
    asked = wait_for(peer, "session.update")["session"]
    session["audio"] = asked["audio"]
    peer.send(make("session.updated", session=session))
    wait_for(peer, "session.input_audio_buffer.append")
    source, target = "session.input_transcript.delta", "session.output_transcript.delta"
    peer.send(
        make(source, delta="Good morning", elapsed_ms=600),
        make(source, delta=" everybody.", elapsed_ms=1000),
    )
    for at, delta in enumerate(words(600, AGENT_HZ)):
        peer.send(
            make(
                "session.output_audio.delta",
                delta=delta,
                elapsed_ms=1000 + at * 200,
                format="pcm16",
                sample_rate=24_000,
                channels=1,
            )
        )
    peer.send(
        make(target, delta="Bonjour", elapsed_ms=1200),
        make(source, delta=" Welcome.", elapsed_ms=1400),
        make(target, delta=" à tous.", elapsed_ms=1600),
        make(target, delta=" Bienvenue.", elapsed_ms=2000),
        make(source, delta=" Let us begin.", elapsed_ms=4000),
    )
    wait_for(peer, "session.close")
    peer.send(make("session.closed"))
    peer.close()


class Rehearsal:
    """Stands for a client's connection, so that a script gives its rows without a socket.

    Attributes:
        rows: whether the client sent it, and the event.
    """

    def __init__(self, *sent: Mapping[str, Any]) -> None:
        self.rows: list[tuple[bool, dict[str, Any]]] = []
        self._sent = iter(sent)

    def send(self, *events: dict[str, Any]) -> None:
        """Note what the server sends."""
        self.rows += ((False, event) for event in events)

    def recv(self) -> str:
        """Note what the client sends next."""
        event = dict(next(self._sent))
        self.rows.append((True, event))
        return json.dumps(event)

    def listen(self) -> None:
        """The client says no more."""

    def close(self) -> None:
        """The script is over."""


def _append(kind: str) -> list[dict[str, Any]]:
    return [{"type": kind, "audio": audio} for audio in words(300, USER_HZ)]


def rows(name: str) -> list[tuple[bool, dict[str, Any]]]:
    """Every event of a script, in order: ``live``, ``sideband`` or ``translation``."""
    output = {"type": "function_call_output", "call_id": "call_1", "output": RESULT}
    language = {"audio": {"input": {}, "output": {"language": "fr"}}}
    sent: dict[str, list[dict[str, Any]]] = {
        "live": [
            {"type": "session.start", "session": CONFIG},
            *_append("session.input_audio.append")[:1],
            {"type": "response.item.create", "item": output},
            {"type": "response.create"},
            {"type": "session.close"},
        ],
        "sideband": [],
        "translation": [
            {"type": "session.update", "session": language},
            *_append("session.input_audio_buffer.append")[:1],
            {"type": "session.close"},
        ],
    }
    rehearsal = Rehearsal(*sent[name])
    script: Any = {"live": live, "sideband": sideband, "translation": translation}[name]
    script(rehearsal)
    return rehearsal.rows


def drops(peer: Peer) -> None:
    """A Live session whose connection is lost in the middle of a sentence."""
    make = Events(LIVE)
    config = wait_for(peer, "session.start")["session"]
    peer.send(make("session.started", session=resource(config)))
    peer.send(*heard(make, "user", (0, 400, "Are you")))
    time.sleep(0.1)  # an answer to what came before is read first
    peer.drop()


def goes_on(peer: Peer) -> None:
    """The session after it; its clock counts from 0 again."""
    make = Events(LIVE)
    peer.send(make("session.started", session=resource(CONFIG)))
    peer.send(*heard(make, "user", (100, 300, " there?")))
    peer.send(*heard(make, "agent", (600, 900, "Yes.")))
    peer.listen()
