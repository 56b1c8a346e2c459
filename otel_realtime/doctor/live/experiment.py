"""Writes one trace to LangSmith in the same way as a call: with the same requests, stamps and headers.

The order is: a span before its root; the root's post; spans below the root, one of them with another
project in the request's header, one in a request of 4 MB; the root's patch with a recording.
"""

from __future__ import annotations

import gzip
import math
import secrets
import struct
import time
import wave
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags

from otel_realtime.attributes import COMPLETION, LEG_DIRECT, LS_METADATA, LS_THREAD_ID, PROMPT, Meta
from otel_realtime.delivery.model import Closing, Opening, Recording
from otel_realtime.langsmith.config import LangSmithConfig, agent_of
from otel_realtime.langsmith.encoding import MAX_REQUEST_BYTES, encode
from otel_realtime.langsmith.http import Answer, Body, Http
from otel_realtime.langsmith.runs import RunsClient
from otel_realtime.langsmith.stamping import Stamp, TraceStamp
from otel_realtime.langsmith.statuses import Verdict
from otel_realtime.tracing.members import OUR_SCOPE

NAME: Final = "otel-realtime doctor"
#: Metadata that is in the root's post, but not in its patch.
LEFT_OUT: Final = "doctor_posted"
OUTPUTS: Final[Mapping[str, Any]] = {
    "messages": [{"role": "assistant", "content": "This is a test by otel-realtime doctor."}]
}
_TAG: Final = "doctor"
_RATE: Final = 24_000
_NS_PER_MS: Final = 1_000_000
#: A protobuf field that OTLP does not define, so that a large request does not need a large run.
_UNKNOWN_FIELD: Final = 18_999


def header_project(project: str) -> str:
    """Return the project that one request's header names, which differs from that of its span."""
    return f"{project}-doctor-header"


@dataclass(slots=True)
class Written:
    """The requests that were sent, and the responses.

    Attributes:
        root_id: id of the root run.
        start_ns: its start, epoch ns.
        stamps: stamps of the spans, by name.
        answers: responses to the requests, by name; a request that was not made is missing.
        sound: the recording that was attached.
    """

    root_id: str
    start_ns: int
    stamps: dict[str, Stamp] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    sound: Path | None = None

    def accepted(self, name: str) -> bool:
        """Return whether a request was accepted."""
        answer = self.answers.get(name)
        return answer is not None and answer.ruling.verdict is Verdict.DONE


class Experiment:
    """Makes the requests one by one, without retries.

    Args:
        config: LangSmith's address and key.
        folder: folder for the recording; the caller removes it.
        timeout_s: time for each request, in seconds.

    Attributes:
        written: the requests so far, and their responses.
    """

    def __init__(self, config: LangSmithConfig, folder: Path, timeout_s: float) -> None:
        self._config = config
        self._folder = folder
        self._http = Http(timeout_s)
        self._runs = RunsClient(config, self._http)
        self._trace_id = _new_id(128)
        self._start_ns = time.time_ns()
        root_span_id = _new_id(64)
        self._trace = TraceStamp(
            root_span_id=root_span_id,
            trace_id=self._trace_id,
            start_ns=self._start_ns,
            thread_id=f"doctor-{root_span_id:016x}",
            leg=LEG_DIRECT,
            project=config.project,
        )
        self._root = self._trace.member(root_span_id, self._start_ns, None)
        self._metadata: dict[str, Any] = {
            LS_THREAD_ID.removeprefix(LS_METADATA): self._trace.thread_id,
            Meta.OTEL_TRACE_ID: f"{self._trace_id:032x}",
        }
        self._opening = Opening(
            trace_id=self._trace_id,
            span_id=root_span_id,
            name=NAME,
            start_ns=self._start_ns,
            metadata={**self._metadata, LEFT_OUT: True},
            tags=(_TAG,),
        )
        self.written = Written(self._trace.root_run_id, self._start_ns)

    # -- the steps ---------------------------------------------------------------------------------

    def send_early(self) -> None:
        """Send a span before its root."""
        self._send("early")

    def post(self) -> bool:
        """Post the root; return whether it was accepted."""
        self.written.answers["post"] = self._runs.post(self._opening)
        return self.written.accepted("post")

    def send_children(self) -> None:
        """Send spans below the root that start in the same microsecond; each settles another question."""
        self._send("first")
        self._send("second")  # the time in its dotted order is a microsecond after the first one's
        if agent_of(self._config.project) is None:
            other = header_project(self._config.project)
            self._send("header", headers={"Langsmith-Project": other})
        self._send("large", size=MAX_REQUEST_BYTES)

    def patch(self, attachment_mb: float) -> None:
        """End the root, with a recording.

        Args:
            attachment_mb: its size in MB; 0: a second of sound.
        """
        sound = self._folder / "conversation.wav"
        _write_sound(sound, attachment_mb)
        self.written.sound = sound
        closing = Closing(end_ns=time.time_ns(), outputs=OUTPUTS)
        self.written.answers["patch"] = self._runs.patch(
            self._opening, closing, self._metadata, Recording(path=sound)
        )

    def find_project(self) -> tuple[str, str] | None:
        """Return the tenant's and the project's id; ``None`` if they are not known."""
        return self._runs.find_project(self._config.project)

    def url(self) -> str | None:
        """Return the page of the run; ``None`` if it is not known."""
        found = self.find_project()
        return self._config.run_url(*found, self.written.root_id) if found else None

    # -- spans -------------------------------------------------------------------------------------

    def _send(self, name: str, *, headers: Mapping[str, str] | None = None, size: int = 0) -> None:
        stamp = self._trace.member(_new_id(64), self._start_ns, self._root)
        self.written.stamps[name] = stamp
        batches, _ = encode([(self._span(name, stamp), stamp)], 0)
        body = batches[0].body
        if size:
            body = gzip.compress(_padded(gzip.decompress(body), size), 1)
        self.written.answers[name] = self._http.post(
            self._config.otlp_traces_url,
            {
                **self._config.headers(),
                **self._config.otlp_destination(),
                "Content-Type": "application/x-protobuf",
                "Content-Encoding": "gzip",
                **(headers or {}),
            },
            lambda: Body(body),
        )

    def _span(self, name: str, stamp: Stamp) -> ReadableSpan:
        def context(span_id: int) -> SpanContext:
            sampled = TraceFlags(TraceFlags.SAMPLED)
            return SpanContext(self._trace_id, span_id, is_remote=False, trace_flags=sampled)

        return ReadableSpan(
            name=f"{NAME}: {name}",
            context=context(stamp.span_id),
            parent=context(self._trace.root_span_id),
            resource=Resource({"service.name": NAME}),
            attributes={PROMPT: "{}", COMPLETION: "{}"},
            start_time=self._start_ns,
            end_time=self._start_ns + _NS_PER_MS,
            instrumentation_scope=InstrumentationScope(OUR_SCOPE),
        )


def _new_id(bits: int) -> int:
    return secrets.randbits(bits) or 1


def _padded(request: bytes, size: int) -> bytes:
    """Pad a request to a size, with a field that no reader knows and every reader skips.

    https://protobuf.dev/programming-guides/encoding/#structure
    """
    padding = max(size - len(request) - 8, 0)
    return request + _varint(_UNKNOWN_FIELD << 3 | 2) + _varint(padding) + bytes(padding)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))


def _write_sound(path: Path, megabytes: float) -> None:
    """Write a stereo WAV: a second of a quiet tone, then silence up to the size in MB."""
    tone = (int(1000 * math.sin(math.tau * 440 * at / _RATE)) for at in range(_RATE))
    sound = b"".join(struct.pack("<hh", sample, sample) for sample in tone)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(sound)
        left = max(int(megabytes * 1_000_000) - len(sound), 0) // 4 * 4
        while left:
            block = min(left, 1_000_000)
            file.writeframes(bytes(block))
            left -= block
