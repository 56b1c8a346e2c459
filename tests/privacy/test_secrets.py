"""Credentials with content on: every spelling in every place of a call; wire, disk and log searched."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import otel_realtime
from otel_realtime.conversation.public import Conversation
from otel_realtime.settings import Settings
from tests.privacy.conftest import Rig
from tests.support.planted import on_disk, on_the_wire
from tests.support.streams import created, done, received, said
from tests.support.waiting import wait_for
from tests.test_credentials import IN_TEXT, SPELLINGS

Planted = Callable[[str], str]


class Failed(Exception):
    """An app's own error."""


def _value(place: str, number: int) -> str:
    return f"planted-{place}-{number}-QXJ5"


def secrets_of(place: str) -> dict[str, str]:
    """A credential of its own under every spelling."""
    return {name: _value(place, number) for number, name in enumerate(SPELLINGS)}


def texts_of(place: str) -> list[str]:
    """Every spelling in a form of text; the forms take turns."""
    forms = list(IN_TEXT.values())
    return [
        forms[number % len(forms)](name).replace("planted-QXJ5-hunter2", _value(place, number))
        for number, name in enumerate(SPELLINGS)
    ]


def text_of(place: str) -> str:
    """The same as one text."""
    return "\n".join(f"{text} ;\n" for text in texts_of(place))


def _config(call: Conversation) -> None:
    tools = [{"type": "mcp", "server_label": "m", **secrets_of("mcp")}]
    session = {"id": "s", "tools": tools, "instructions": text_of("instructions")}
    call.received({"type": "session.created", "session": session})


def _speech(call: Conversation) -> None:
    for number, text in enumerate(texts_of("user")):
        call.received(received("conversation.item.added", item=said(text, id=f"u{number}"))[1])
    for text in texts_of("error"):
        error = {"type": "invalid_request_error", "code": "c", "message": text}
        call.received({"type": "error", "error": error})
    call.received(created("r0")[1])
    partial = {"response_id": "r0", "item_id": "p", "content_index": 0}
    call.received({"type": "response.output_text.delta", "delta": text_of("delta"), **partial})
    call.received(done("r0", said(text_of("agent"), id="a", role="assistant"))[1])


def _tools(call: Conversation) -> None:
    arguments = json.dumps({**secrets_of("arguments"), "note": text_of("note")})
    function = {"id": "f", "type": "function_call", "call_id": "c1", "name": "look"}
    mcp = {"id": "m", "type": "mcp_call", "name": "send", "arguments": json.dumps(secrets_of("m1"))}
    mcp |= {"output": text_of("m2"), "error": {"message": text_of("m3")}}
    call.received(created("r1")[1])
    call.received(done("r1", {**function, "arguments": arguments}, mcp)[1])
    output = {"type": "function_call_output", "call_id": "c1", "output": json.dumps([arguments])}
    call.sent({"type": "conversation.item.create", "item": output})
    with suppress(Failed), call.tool(name="own", arguments=json.dumps(secrets_of("own"))):
        raise Failed(text_of("raised"))


def _described(call: Conversation) -> None:
    call.set_metadata(**secrets_of("metadata"))
    call.set_metadata(nested={"deep": [secrets_of("nested")]}, note=text_of("meta_text"))
    call.set_metadata(mapping=(secrets_of("tuple"),))
    call.add_tags(*texts_of("tags"))


PLACES = (
    "mcp", "instructions", "user", "error", "delta", "agent", "arguments", "note", "m1", "m2", "m3",
    "own", "raised", "metadata", "nested", "meta_text", "tuple", "tags", "opening", "ended",
)  # fmt: skip


def talk(rig: Rig) -> None:
    """A conversation with all of it, which an exception ends."""
    with (
        suppress(Failed),
        otel_realtime.conversation(
            tracer_provider=rig.provider, metadata=secrets_of("opening"), tags=texts_of("opening")
        ) as call,
    ):
        for step in (_config, _described, _speech, _tools):
            step(call)
        raise Failed(text_of("ended"))


def test_no_spelling_leaves_from_any_place(rig: Rig) -> None:
    """To LangSmith, to the app's own backend, to the disk, to the log."""
    otel_realtime.instrument(tracer_provider=rig.provider, settings=Settings())
    told = rig.told(lambda: talk(rig))
    left = {
        place: [
            name
            for number, name in enumerate(SPELLINGS)
            if _value(place, number).encode() in told.blob
        ]
        for place in PLACES
    }
    assert {} == {place: names for place, names in left.items() if names}
    assert b"planted" not in told.blob
    assert b"[secret]" in told.blob


def test_a_journal_never_had_them(rig: Rig) -> None:
    """Neither while the call goes on."""
    otel_realtime.instrument(tracer_provider=rig.provider, settings=Settings())
    with otel_realtime.conversation(tracer_provider=rig.provider) as call:
        for step in (_config, _described, _speech, _tools):
            step(call)
        (journal,) = rig.folder.rglob("journal.jsonl")
        wait_for(lambda: b"execute_tool own" in journal.read_bytes(), "the last step", timeout_s=5)
        assert b"planted" not in on_disk(rig.folder)


def test_spans_of_other_instrumentations_lose_them_on_our_leg(rig: Rig) -> None:
    """The app's own exporter sends them as they are."""
    otel_realtime.instrument(tracer_provider=rig.provider, settings=Settings())
    tracer = rig.provider.get_tracer("opentelemetry.instrumentation.httpx")
    given: dict[str, Any] = {f"http.request.header.{n}": [v] for n, v in secrets_of("a").items()}

    def call() -> None:
        with otel_realtime.conversation(tracer_provider=rig.provider) as it:
            it.received({"type": "session.created", "session": {"id": "s"}})
            with (
                it.tool(name="look"),
                tracer.start_as_current_span("GET", attributes=given) as span,
            ):
                for number, text in enumerate(texts_of("b")):
                    span.set_attribute(f"n{number % 50}", text)
                span.record_exception(Failed(text_of("c")))

    rig.told(call)
    assert b"planted" not in on_the_wire(rig.langsmith)
    assert b"planted" in on_the_wire(rig.backend)


def test_the_log_quotes_no_credential_of_an_app_that_fails(rig: Rig, process: Any) -> None:
    """A callback's exception is logged with its traceback."""

    def refuse(path: Any, info: Any) -> None:
        raise Failed(text_of("callback"))

    settings = Settings(on_recording=refuse)
    process.setenv("LANGSMITH_PROJECT", "p")
    otel_realtime.instrument(tracer_provider=rig.provider, settings=settings)
    with otel_realtime.conversation(tracer_provider=rig.provider) as call:
        call.received({"type": "session.created", "session": {"id": "s"}})
        call.record_user_audio(b"\1\2" * 2400, rate=24_000)
    assert not otel_realtime.flush(10)
    assert "Failed" in rig.log.text
    assert "planted" not in rig.log.text
