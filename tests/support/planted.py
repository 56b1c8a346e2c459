"""A call with something unmistakable planted in every place that can hold content or a secret."""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosedError

import otel_realtime
from tests.support.fault_server import FaultServer, Peer
from tests.support.langsmith_server import LangSmithServer

#: What the user, the app, its tools and the developer said.
INPUTS = (
    "instructions",
    "tool_description",
    "prompt_variable",
    "user_text",
    "user_transcript",
    "tool_result",
    "mcp_output",
    "item_metadata",
    "out_of_band_input",
)
#: What the model said.
OUTPUTS = ("agent_transcript", "agent_text", "tool_arguments", "mcp_arguments")
#: What may quote either side.
BOTH = ("error_message", "response_error", "close_reason", "dtmf")
#: What is never told.
SECRETS = {
    "bearer": "mcp-bearer-QXJ5",
    "header": "mcp-header-QmVl",
    "url_token": "mcp-query-Q2Vl",
    "query": "query-key-RGVl",
    "handshake": "handshake-header-RWVl",
    "client_key": "sk-proj-PLANTEDPLANTEDPLANTED01",
    "said_key": "sk-proj-PLANTEDPLANTEDPLANTED02",
    "client_secret": "ek_PLANTEDPLANTEDPLANTED03",
    "url_user": "mcp-user-R2Vl",
    "spelled": "mcp-spelled-SGVl",
    "more_query": "query-token-SWVl",
    "told_bearer": "told-bearer-SmVl",
    "closed_with": "closed-with-S2Vl",
    "bare_client_secret": "planted-client-secret-RkVl",
}
IMAGE = base64.b64encode(b"planted image " * 60).decode()


def pcm(seed: int) -> bytes:
    """A second of loud sound of which any 64 bytes are unmistakable."""
    block = bytes((seed * 31 + n * n * 7 + n // 3) % 256 for n in range(4_800))
    return block * 10


USER_SOUND, AGENT_SOUND = pcm(3), pcm(5)


def word(name: str, call: str) -> str:
    """What is planted for a name in one call."""
    return f"planted-{name}-{call}"


@dataclass(frozen=True)
class Script:
    """The two sides of the planted call; ``call`` tells several of them apart."""

    call: str

    def w(self, name: str) -> str:
        """What is planted for a name."""
        return word(name, self.call)

    @property
    def session(self) -> dict[str, Any]:
        """The configuration, as the client asks for it and the server repeats it."""
        return {
            "type": "realtime",
            "model": "gpt-realtime",
            "instructions": f"{self.w('instructions')} and {SECRETS['said_key']}",
            "output_modalities": ["audio"],
            "prompt": {"id": "pmpt_1", "variables": {"city": self.w("prompt_variable")}},
            "audio": {"input": {"transcription": {"model": "whisper-1"}}},
            "tools": [
                {
                    "type": "function",
                    "name": "look_up",
                    "description": self.w("tool_description"),
                    "parameters": {"type": "object", "properties": {}},
                },
                {
                    "type": "mcp",
                    "server_label": "mail",
                    "server_url": (
                        f"https://me:{SECRETS['url_user']}@mcp.example/x?q={SECRETS['url_token']}"
                    ),
                    "X-API-Key": SECRETS["spelled"],
                    "authorization": SECRETS["bearer"],
                    "headers": {"X-Key": SECRETS["header"]},
                },
            ],
            "client_secret": {"value": SECRETS["bare_client_secret"], "expires_at": 1},
        }

    def opening(self) -> list[dict[str, Any]]:
        """What the server says first."""
        session = {"id": "sess_1", **self.session}
        return [
            {"type": "session.created", "session": session},
            {"type": "session.updated", "session": session},
        ]

    def turn(self) -> Iterator[dict[str, Any]]:
        """What the server says once the client has spoken."""
        user = {
            "id": "item_user",
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": self.w("user_text")},
                {"type": "input_image", "image_url": f"data:image/png;base64,{IMAGE}"},
            ],
        }
        yield {"type": "conversation.item.added", "item": user}
        yield {
            "type": "input_audio_buffer.dtmf_event_received",
            "event": self.w("dtmf"),
            "received_at": 1,
        }
        yield {
            "type": "input_audio_buffer.speech_started",
            "item_id": "item_v",
            "audio_start_ms": 0,
        }
        yield {
            "type": "input_audio_buffer.speech_stopped",
            "item_id": "item_v",
            "audio_end_ms": 900,
        }
        yield {"type": "input_audio_buffer.committed", "item_id": "item_v"}
        yield {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "item_v",
            "content_index": 0,
            "transcript": f"{self.w('user_transcript')} {SECRETS['client_secret']} and "
            f"Authorization: Bearer {SECRETS['told_bearer']}",
            "usage": {"type": "duration", "seconds": 1.5},
        }
        yield from self._answer()
        yield from self._failures()

    def _answer(self) -> Iterator[dict[str, Any]]:
        yield {
            "type": "response.created",
            "response": {"id": "resp_1", "metadata": {"a": self.w("item_metadata")}},
        }
        speech = {"id": "item_a", "type": "message", "role": "assistant", "content": []}
        yield {"type": "response.output_item.added", "response_id": "resp_1", "item": speech}
        for at in range(0, len(AGENT_SOUND), 4_800):
            yield {
                "type": "response.output_audio.delta",
                "response_id": "resp_1",
                "item_id": "item_a",
                "content_index": 0,
                "delta": base64.b64encode(AGENT_SOUND[at : at + 4_800]).decode(),
            }
        yield {
            "type": "response.output_audio_transcript.done",
            "response_id": "resp_1",
            "item_id": "item_a",
            "content_index": 0,
            "transcript": self.w("agent_transcript"),
        }
        outputs = [
            {
                "id": "item_a",
                "type": "message",
                "role": "assistant",
                "content": [
                    {"type": "output_audio", "transcript": self.w("agent_transcript")},
                    {"type": "output_text", "text": self.w("agent_text")},
                ],
            },
            {
                "id": "item_f",
                "type": "function_call",
                "call_id": "call_1",
                "name": "look_up",
                "arguments": f'{{"q": "{self.w("tool_arguments")}"}}',
            },
            {
                "id": "item_m",
                "type": "mcp_call",
                "name": "send",
                "arguments": f'{{"q": "{self.w("mcp_arguments")}"}}',
                "output": self.w("mcp_output"),
            },
        ]
        for name in ("in_progress", "completed"):
            yield {"type": f"response.mcp_call.{name}", "item_id": "item_m"}
        usage = {"input_tokens": 11, "output_tokens": 13, "total_tokens": 24}
        yield {
            "type": "response.done",
            "response": {
                "id": "resp_1",
                "status": "completed",
                "output": outputs,
                "usage": usage,
                "metadata": {"a": self.w("item_metadata")},
            },
        }

    def _failures(self) -> Iterator[dict[str, Any]]:
        yield {"type": "response.created", "response": {"id": "resp_2", "conversation_id": None}}
        failed = {"type": "server_error", "code": "oops", "message": self.w("response_error")}
        yield {
            "type": "response.done",
            "response": {
                "id": "resp_2",
                "conversation_id": None,
                "status": "failed",
                "status_details": {"type": "failed", "error": failed},
                "output": [],
            },
        }
        yield {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "code": "bad_value",
                "message": f"you sent {self.w('error_message')} with {SECRETS['said_key']}",
            },
        }

    def serve(self, peer: Peer) -> None:
        """The server's side: the turn follows the client's audio, the close its last word."""
        peer.accept()
        peer.send(*self.opening())
        peer.until(b"ready-to-hear")
        peer.send(*self.turn())
        peer.until(b"that-was-all")
        reason = f"sorry about {self.w('close_reason')}, token={SECRETS['closed_with']}"
        peer.close(4000, reason)

    async def talk(self, url: str) -> None:
        """The client's side."""
        client = AsyncOpenAI(api_key=SECRETS["client_key"], websocket_base_url=url)
        manager = client.realtime.connect(
            model="gpt-realtime",
            extra_query={"api-key": SECRETS["query"], "x": SECRETS["more_query"]},
            extra_headers={"X-Own": SECRETS["handshake"]},
        )
        async with client, manager as connection:
            await connection.recv()
            await connection.recv()
            await connection.session.update(session=self.session)  # type: ignore[arg-type]
            for at in range(0, len(USER_SOUND), 4_800):
                audio = base64.b64encode(USER_SOUND[at : at + 4_800]).decode()
                await connection.input_audio_buffer.append(audio=audio)
            item: Any = {"type": "function_call_output", "call_id": "call_1"}
            await connection.conversation.item.create(
                item={**item, "output": self.w("tool_result")}
            )
            text = {"type": "input_text", "text": self.w("out_of_band_input")}
            said = {"type": "message", "role": "user", "content": [text]}
            request: Any = {
                "conversation": "none",
                "input": [said],
                "metadata": {"a": self.w("item_metadata"), "word": "ready-to-hear"},
            }
            await connection.response.create(response=request)
            async for event in connection:
                if event.type == "error":
                    break
            done: Any = {"type": "response.create", "event_id": "that-was-all"}
            await connection.send(done)
            with suppress(ConnectionClosedError):
                async for _ in connection:
                    pass


@dataclass(frozen=True)
class Told:
    """Every byte that a call left on disk or sent anywhere, and every line it logged."""

    blob: bytes

    def words(self, names: Mapping[str, str] | tuple[str, ...], call: str = "one") -> set[str]:
        """Which of the planted things can be found."""
        planted = (
            names if isinstance(names, Mapping) else {name: word(name, call) for name in names}
        )
        return {name for name, text in planted.items() if text.encode() in self.blob}

    def sound(self) -> set[str]:
        """Whose sound can be found, raw, mixed into a stereo file, or as base64."""
        found = set()
        for side, raw in (("user", USER_SOUND), ("agent", AGENT_SOUND)):
            piece = raw[960 : 960 + 96]
            sparse = [raw[at : at + 2] for at in range(960, 1056, 2)]
            mixed = any(_holds(self.blob, sparse, silent) for silent in (b"\0\0",))
            if piece in self.blob or mixed or base64.b64encode(piece) in self.blob:
                found.add(side)
        return found


def _holds(blob: bytes, samples: list[bytes], silent: bytes) -> bool:
    """Whether the samples stand in a stereo file beside silence, left or right."""
    left = b"".join(sample + silent for sample in samples)
    right = b"".join(silent + sample for sample in samples)
    return left in blob or right in blob


def on_disk(*folders: Path) -> bytes:
    """Everything in these folders, packed things unpacked, names included."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            found.append(str(path.relative_to(folder)).encode())
            if path.is_file():
                found.append(unpacked(path.read_bytes()))
    return b"\n".join(found)


def on_the_wire(*servers: LangSmithServer) -> bytes:
    """Everything that reached these servers."""
    found = []
    for server in servers:
        for request in server.requests:
            found += [request.path.encode(), repr(request.headers).encode(), unpacked(request.body)]
    return b"\n".join(found)


def unpacked(data: bytes) -> bytes:
    """The data as it is and, wherever a gzip stream begins in it, unpacked."""
    found, at = [data], data.find(b"\x1f\x8b\x08")
    while at >= 0:
        try:
            found.append(gzip.decompress(data[at:]))
        except (OSError, EOFError, ValueError):
            pass
        at = data.find(b"\x1f\x8b\x08", at + 1)
    return b"\n".join(found)


def hold(script: Script, **using: Any) -> None:
    """Hold the planted call, in a block of ``using(...)`` if anything is given."""
    with FaultServer(script.serve) as server, otel_realtime.using(**using):
        asyncio.run(script.talk(server.url))
