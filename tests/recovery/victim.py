"""A voice app to be killed: ``python -m tests.recovery.victim [mode]``.

It tells on standard output, a JSON line each and unbuffered: ``opened`` with its ids, ``span`` for
each span that ended, ``sound`` after each 20 ms of the user's audio, ``step`` for named moments,
``closed`` at the end. Modes: ``talk`` goes on until it is killed, ``close`` ends its conversation
and waits, ``exit`` ends it and exits, ``fork`` leaves a child that lives on, ``gap`` loses two sockets of one conversation, opened at
``VICTIM_URL``, tells ``lost`` each time, and waits for a third one. ``VICTIM_DIES`` names a function of the package, as
``module:name``, at whose call (``before``) or return (``after``) the process kills itself.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import otel_realtime
from otel_realtime.state.progress import POSTED, Progress

RATE = 24_000
FRAME_MS = 20
SECRET = os.environ.get("VICTIM_SECRET", "wombat")


def tell(kind: str, **facts: Any) -> None:
    """Say something that survives the kill."""
    os.write(1, (json.dumps({"kind": kind, **facts}) + "\n").encode())


class Telling(SpanProcessor):
    """Tells of each span that ended."""

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        assert context is not None
        tell("span", id=f"{context.span_id:016x}", name=span.name, ended=time.time_ns())


def tone(ms: int, hz: float) -> str:
    """PCM16 without a zero sample, in base64."""
    wave = 8_000 * np.sin(2 * np.pi * hz * (np.arange(ms * RATE // 1000) + 0.37) / RATE)
    samples = np.round(wave).astype("<i2")
    samples[samples == 0] = 1
    return base64.b64encode(samples.tobytes()).decode()


class Caller:
    """One call, event by event."""

    def __init__(self, call: otel_realtime.Conversation) -> None:
        self._call = call
        self._turn = 0
        self._frame = tone(FRAME_MS, 330)
        self._answer = tone(200, 523)
        self._speak_at = time.monotonic()

    def begin(self) -> None:
        session = {
            "id": "sess_1",
            "type": "realtime",
            "model": "gpt-realtime",
            "instructions": f"Keep the {SECRET} to yourself.",
            "audio": {"input": {"transcription": {"model": "whisper-1"}}},
        }
        self.get("session.created", session=session)

    def get(self, kind: str, **keys: Any) -> None:
        self._call.received({"type": kind, "event_id": f"event_{time.monotonic_ns()}", **keys})

    def speak(self, frames: int) -> None:
        """The user talks, in real time."""
        for _ in range(frames):
            self._speak_at = max(self._speak_at + FRAME_MS / 1000, time.monotonic() - 0.1)
            time.sleep(max(self._speak_at - time.monotonic(), 0))
            self._call.sent({"type": "input_audio_buffer.append", "audio": self._frame})
            tell("sound", at=time.time_ns())

    def turn(self) -> None:
        """The user asks, the model calls a tool and answers."""
        self._turn += 1
        n, item = self._turn, f"item_u{self._turn}"
        self.get("input_audio_buffer.speech_started", item_id=item, audio_start_ms=0)
        self.speak(8)
        self.get("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=160)
        self.get("input_audio_buffer.committed", item_id=item, previous_item_id=None)
        user = {"id": item, "type": "message", "role": "user", "content": []}
        self.get("conversation.item.added", item=user)
        done = "conversation.item.input_audio_transcription.completed"
        self.get(done, item_id=item, content_index=0, transcript=f"Where is the {SECRET}?")
        self._tool(n)
        self._speech(n)

    def _response(self, response_id: str, *output: dict[str, Any]) -> None:
        usage = {"total_tokens": 12, "input_tokens": 7, "output_tokens": 5}
        body = {"id": response_id, "status": "completed", "output": list(output), "usage": usage}
        self.get("response.done", response=body)

    def _tool(self, n: int) -> None:
        response, call = f"resp_t{n}", f"call_{n}"
        self.get("response.created", response={"id": response, "status": "in_progress"})
        item = {"id": f"item_t{n}", "type": "function_call", "call_id": call, "name": "look"}
        item["arguments"] = json.dumps({"for": SECRET})
        self._response(response, item)
        tell("step", name="tool")
        # The second one takes so long that the journal says of it before it ends.
        self.speak(60 if n == 2 else 4)
        output = {"type": "function_call_output", "call_id": call, "output": f"a {SECRET}"}
        self._call.sent({"type": "conversation.item.create", "item": output})

    def _speech(self, n: int) -> None:
        response, item = f"resp_{n}", f"item_a{n}"
        self.get("response.created", response={"id": response, "status": "in_progress"})
        said = {"id": item, "type": "message", "role": "assistant", "content": []}
        self.get("response.output_item.added", response_id=response, item=said)
        for _ in range(2):
            self.get(
                "response.output_audio.delta",
                response_id=response,
                item_id=item,
                content_index=0,
                delta=self._answer,
            )
            self.speak(4)
        text = f"The {SECRET} is here."
        said["content"] = [{"type": "output_audio", "transcript": text}]
        self.get("response.output_item.done", response_id=response, item=said)
        self._response(response, said)
        tell("step", name="answered")
        self.speak(4)


def die_at(step: str) -> None:
    """Let the process kill itself at a step: ``module:name:before`` or ``:after``, then ``:word``.

    Only calls with the word among their arguments count, if one is given.
    """
    module, path, when, *words = step.split(":")
    holder: Any = importlib.import_module(module)
    *above, name = path.split(".")
    for part in above:
        holder = getattr(holder, part)
    real = getattr(holder, name)

    def dies(*given: Any, **named: Any) -> Any:
        meant = all(any(word in str(one) for one in given) for word in words)
        if meant and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*given, **named)
        if meant:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(holder, name, dies)


def main(mode: str) -> None:
    if "VICTIM_FILE_BYTES" in os.environ:  # no file may be larger: as on a disk that is full
        most = int(os.environ["VICTIM_FILE_BYTES"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if "VICTIM_DIES" in os.environ:
        die_at(os.environ["VICTIM_DIES"])
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Telling())
    if mode == "gap":
        _lose_sockets(os.environ["VICTIM_URL"], provider)
    with otel_realtime.conversation(
        thread_id=f"victim-{os.getpid()}",
        metadata={"seat": 4},
        tags=["a"],
        tracer_provider=provider,
    ) as call:
        tell("opened", run=call.langsmith_run_id, trace=call.trace_id, at=time.time_ns())
        caller = Caller(call)
        caller.begin()
        caller.turn()
        while mode == "talk":
            caller.turn()
        if mode == "fork":
            _leave_a_child()
        if "VICTIM_DIES" in os.environ:
            _await_post()
    tell("closed", at=time.time_ns())
    if mode != "exit":
        time.sleep(600)


def _lose_sockets(url: str, provider: TracerProvider) -> None:
    otel_realtime.instrument(tracer_provider=provider)
    with otel_realtime.using(thread_id=f"victim-{os.getpid()}"):
        for number in range(2):
            with connect(url) as socket, suppress(ConnectionClosed):
                for _ in iter(socket.recv, None):
                    call = otel_realtime.current_conversation()
                    if call is not None and not number:
                        tell("opened", run=call.langsmith_run_id, trace=call.trace_id)
            tell("lost", at=time.time_ns())
            time.sleep(0.3)
        time.sleep(600)


def _await_post() -> None:
    """Close only when the answer to the root's post is noted: a busy machine closes before it came."""
    state = Path(os.environ["OTEL_REALTIME_STATE_DIR"])
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if any(Progress(one).done(POSTED) for one in (state / "conversations").iterdir()):
            return
        time.sleep(0.01)


def _leave_a_child() -> None:
    """The child has no conversation; it only keeps what it inherited."""
    if os.fork() == 0:
        tell("child", pid=os.getpid())
        time.sleep(60)
        os._exit(0)
    time.sleep(600)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "talk")
