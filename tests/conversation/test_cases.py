"""Situations that were stated wrongly once: what must stand on the spans."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.support.cases import chats, play, row, rows_of, turns, value
from tests.support.traces import facts

PROMPT, INPUT = "gen_ai.prompt", "gen_ai.input.messages"


def asked(attributes: Any) -> list[Any]:
    """Contents of the prompt's messages."""
    return [message["content"] for message in value(attributes, PROMPT)["messages"]]


def test_parallel_asides_each_have_their_own_request() -> None:
    """Created in the other order, told apart by the labels that the server echoes."""
    found = chats(play(rows_of("parallel_oob")))
    assert {"resp_a": ["REQUEST A"], "resp_b": ["REQUEST B"]} == {
        name: asked(attributes) for name, attributes in found.items()
    }
    for name, attributes in found.items():
        label = name[-1]
        assert label == attributes["otel_realtime.response.metadata.topic"]
        assert label == attributes["langsmith.metadata.response.metadata.topic"]
        parts = value(attributes, INPUT)
        assert [f"REQUEST {label.upper()}"] == [part["parts"][0]["content"] for part in parts]


def test_instructions_of_one_response_stand_on_its_span() -> None:
    """In both renderings, with the tools that it overrode and its labels."""
    (found,) = chats(play(rows_of("response_instructions"))).values()
    text = "GREET THE CALLER AS ACME BANK"
    assert [{"role": "system", "content": text}] == value(found, PROMPT)["messages"]
    assert [{"type": "text", "content": text}] == value(found, "gen_ai.system_instructions")
    assert [] == value(found, "gen_ai.tool.definitions") == value(found, PROMPT)["tools"]
    assert ("greeting", 200) == (
        found["otel_realtime.response.metadata.why"],
        found["gen_ai.request.max_tokens"],
    )


def test_hidden_instructions_are_hidden_in_both_renderings(monkeypatch: Any) -> None:
    """And so are labels and tools."""
    monkeypatch.setenv("OTEL_REALTIME_CAPTURE_CONTENT", "false")
    (found,) = chats(play(rows_of("response_instructions"))).values()
    assert not any("ACME" in str(each) or "greeting" in str(each) for each in found.values())


def test_an_approval_and_its_result_are_among_the_messages() -> None:
    """The model that speaks reads the call and what it brought; the one that calls, the approval."""
    traces = play(rows_of("mcp_approval"))
    found = chats(traces)
    assert ["Look it up."] == asked(found["resp_1"])
    request, answer = value(found["resp_2"], PROMPT)["messages"]
    assert ("assistant", "user") == (request["role"], answer["role"])
    assert '[approval requested: docs.search_docs {"q":"x"}]' == request["content"]
    assert "[approved]" == answer["content"]
    call, result = value(found["resp_3"], PROMPT)["messages"]
    assert "search_docs" == call["tool_calls"][0]["function"]["name"]
    assert ("tool", '[{"hit":1}]') == (result["role"], result["content"])
    roles = [message["role"] for message in value(found["resp_3"], INPUT)]
    assert ["assistant", "tool"] == roles
    everything = [str(facts(span)) for span in traces.spans]
    assert not any("topsecret" in text or "key=abc" in text for text in everything)


def test_a_line_that_the_server_says_by_itself() -> None:
    """Because nobody spoke: no turn of the user's, and nobody waited for it."""
    silence = {"item_id": "t", "audio_start_ms": 400, "audio_end_ms": 30_400}
    said = {"id": "a", "type": "message", "role": "assistant", "status": "completed"}
    content = [{"type": "output_audio", "transcript": "Are you still there?"}]
    delta = base64.b64encode(bytes(48_000)).decode()
    part = {"response_id": "r", "item_id": "a", "content_index": 0}
    done = {**RESPONSE, "status": "completed", "output": [{**said, "content": content}]}
    quiet = base64.b64encode(bytes(960)).decode()
    traces = play(
        [
            SESSION,
            *(
                row("sent", at, "input_audio_buffer.append", audio=quiet)
                for at in range(0, 400, 20)
            ),
            row("recv", 30_500, "input_audio_buffer.timeout_triggered", **silence),
            row("recv", 30_501, "input_audio_buffer.committed", item_id="t"),
            row("recv", 30_510, "response.created", response=RESPONSE),
            row("recv", 30_600, "response.output_item.added", response_id="r", item=said),
            row("recv", 30_700, "response.output_audio.delta", delta=delta, **part),
            row("recv", 30_800, "response.done", response=done),
            row("recv", 32_000, "rate_limits.updated", rate_limits=[]),
        ]
    )
    assert [("assistant", "Are you still there?")] == [
        (turn["role"], turn["text"]) for turn in turns(traces)
    ]
    (found,) = chats(traces).values()
    assert (1, 1000) == (found["otel_realtime.turn"], found["otel_realtime.heard_ms"])
    assert not [name for name in found if "voice_to_voice" in name or ".latency." in name]
    assert ["[silence 30.0 s]"] == asked(found)
    root = facts(traces.root)
    assert (1, 1) == (root["otel_realtime.idle_timeouts"], root["otel_realtime.turns"])
    assert not [name for name in root if "voice_to_voice" in name or ".latency." in name]


SESSION = row(
    "recv",
    0,
    "session.created",
    session={
        "type": "realtime",
        "model": "gpt-realtime",
        "audio": {"input": {"transcription": {"model": "whisper-1"}}},
    },
)
RESPONSE = {"id": "r", "status": "in_progress", "conversation_id": "c", "metadata": None}
TRANSCRIPT = {"item_id": "a", "response_id": "r", "content_index": 0}


def sentence(*texts: str, kind: str = "response.output_audio_transcript.delta") -> list[Any]:
    """A response that has got as far as these deltas."""
    item = {"id": "a", "type": "message", "role": "assistant", "status": "in_progress"}
    return [
        SESSION,
        row("recv", 100, "response.created", response=RESPONSE),
        row("recv", 110, "response.output_item.added", response_id="r", item=item),
        *(
            row("recv", 200 + at, kind, delta=text, obfuscation="x7", **TRANSCRIPT)
            for at, text in enumerate(texts)
        ),
    ]


@pytest.mark.parametrize(
    "kind",
    [
        "response.output_audio_transcript.delta",
        "response.audio_transcript.delta",
        "response.output_text.delta",
        "response.text.delta",
    ],
)
def test_a_hang_up_in_mid_sentence_shows_what_was_said(kind: str) -> None:
    """On the span of the response and in the transcript, marked as interrupted."""
    traces = play(sentence("Your bal", "ance is", kind=kind))
    (turn,) = turns(traces)
    assert ("assistant", "Your balance is", True) == (
        turn["role"],
        turn["text"],
        turn["interrupted"],
    )
    (found,) = chats(traces).values()
    assert "Your balance is" in found["gen_ai.completion"]
    assert "Your balance is" in found["gen_ai.output.messages"]
    assert found["otel_realtime.interrupted"] is True


def test_a_user_who_hangs_up_in_mid_sentence_is_shown() -> None:
    """Some transcriptions begin before the VAD has heard the end."""
    kind = "conversation.item.input_audio_transcription.delta"
    traces = play(
        [
            SESSION,
            row("recv", 50, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=0),
            *(row("recv", 60, kind, item_id="u", content_index=0, delta=text) for text in "Hey"),
        ]
    )
    (turn,) = turns(traces)
    assert ("user", "Hey", True) == (turn["role"], turn["text"], turn["interrupted"])
    (span,) = [span for span in traces.spans if span.name.startswith("transcribe")]
    found = facts(span)
    assert (
        "incomplete" == found["otel_realtime.response.status"] == found["langsmith.metadata.status"]
    )
    assert "Hey" in found["gen_ai.completion"]
    assert (50, "u") == (found["otel_realtime.audio_offset_ms"], found["otel_realtime.item.id"])


@pytest.mark.parametrize("announced", [True, False])
def test_a_hang_up_in_mid_arguments_shows_the_call(announced: bool) -> None:
    """Nobody can run it, so it is no tool call; the response shows how far the model came."""
    kind = "response.function_call_arguments.delta"
    keys = {"response_id": "r", "item_id": "f", "output_index": 0, "call_id": "c"}
    item = {"id": "f", "type": "function_call", "name": "look_up", "call_id": "c", "arguments": ""}
    rows = [
        SESSION,
        row("recv", 100, "response.created", response=RESPONSE),
        *(row("recv", 150, kind, delta=text, **keys) for text in ('{"city": ', '"Par')),
    ]
    if announced:
        rows.insert(2, row("recv", 110, "response.output_item.added", response_id="r", item=item))
    traces = play(rows)
    (found,) = chats(traces).values()
    ((choice,), (message,)) = (
        value(found, "gen_ai.completion")["choices"],
        value(found, "gen_ai.output.messages"),
    )
    ((call,), (part,)) = choice["message"]["tool_calls"], message["parts"]
    assert '{"city": "Par' == call["function"]["arguments"] == part["arguments"]
    assert found["otel_realtime.interrupted"] is True
    assert not [span for span in traces.spans if span.name.startswith("execute_tool")]
    assert [] == turns(traces)


def test_a_server_without_done_events() -> None:
    """Its text is complete when the response is."""
    done = {**RESPONSE, "status": "completed", "output": [], "usage": None}
    traces = play([*sentence("All ", "of it."), row("recv", 300, "response.done", response=done)])
    (turn,) = turns(traces)
    assert ("All of it.", False) == (turn["text"], turn["interrupted"])
    (found,) = chats(traces).values()
    assert "All of it." in found["gen_ai.completion"]


def test_a_hook_sees_the_text_so_far_as_a_whole() -> None:
    """A secret that two deltas cut in two is still redacted."""

    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        text = payload.get("transcript")
        if isinstance(text, str):
            payload["transcript"] = text.replace("4242", "####")
        return payload

    from otel_realtime import Settings

    traces = play(sentence("It ends in 42", "42, I"), settings=Settings(redact=redact))
    assert ["It ends in ####, I"] == [turn["text"] for turn in turns(traces)]
    assert not any("4242" in str(facts(span)) for span in traces.spans)


def test_a_hook_is_not_asked_for_each_delta() -> None:
    """It may be slow, and runs on the app's task: a few times a second are enough."""
    seen: list[str] = []

    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        if "transcript" in payload:
            seen.append(payload["transcript"])
        return payload

    from otel_realtime import Settings

    traces = play(sentence(*"abcdefghij" * 20), settings=Settings(redact=redact))
    assert ["abcdefghij" * 20] == [turn["text"] for turn in turns(traces)] == seen[-1:]
    assert 3 >= len(seen)


def test_an_untranscribed_turn_is_a_placeholder_with_its_length() -> None:
    """In the transcript and in both renderings of what the model read."""
    traces = play(
        [
            SESSION,
            row("recv", 100, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=50),
            row("recv", 2500, "input_audio_buffer.speech_stopped", item_id="u", audio_end_ms=2350),
            row("recv", 2501, "input_audio_buffer.committed", item_id="u"),
            row("recv", 2510, "response.created", response=RESPONSE),
        ]
    )
    (found,) = chats(traces).values()
    assert ["[audio 2.3 s]"] == asked(found) == [turn["text"] for turn in turns(traces)]
    assert "[audio 2.3 s]" == value(found, INPUT)[0]["parts"][0]["content"]


def test_images_are_parts_of_their_own() -> None:
    """By reference, type and size; never their bytes."""
    png = "data:image/png;base64," + "A" * 400
    content = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": png, "detail": "low"},
        {"type": "input_image", "image_url": "https://a.test/b.jpg"},
    ]
    item = {"id": "u", "type": "message", "role": "user", "content": content}
    traces = play(
        [
            SESSION,
            row("recv", 10, "conversation.item.added", item=item),
            row("recv", 20, "response.created", response=RESPONSE),
        ]
    )
    (found,) = chats(traces).values()
    (message,) = value(found, PROMPT)["messages"]
    assert [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "[image/png: 300 bytes]", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://a.test/b.jpg"}},
    ] == message["content"]
    (shown,) = value(found, INPUT)
    assert ["text", "generic", "uri"] == [part["type"] for part in shown["parts"]]
    assert ("image/png", 300) == (shown["parts"][1]["mime_type"], shown["parts"][1]["size"])
    assert not any("AAAA" in str(facts(span)) for span in traces.spans)


def test_the_phase_of_a_message() -> None:
    """A preamble and the answer are told apart."""
    items = [
        {
            "id": name,
            "type": "message",
            "role": "assistant",
            "phase": name,
            "status": "completed",
            "content": [{"type": "output_text", "text": name}],
        }
        for name in ("commentary", "final_answer")
    ]
    done = {**RESPONSE, "status": "completed", "output": items}
    traces = play(
        [
            SESSION,
            row("recv", 10, "response.created", response=RESPONSE),
            row("recv", 20, "response.done", response=done),
        ]
    )
    (found,) = chats(traces).values()
    assert '"phase":"commentary"' in found["gen_ai.completion"]
    assert ["commentary", "final_answer"] == [
        message["phase"] for message in value(found, "gen_ai.output.messages")
    ]


def test_the_model_of_a_sideband() -> None:
    """The session may never be described there: the client's own update names it."""
    traces = play(
        [
            row("sent", 0, "session.update", session={"model": "gpt-realtime-2.1"}),
            row("recv", 10, "response.created", response=RESPONSE),
        ]
    )
    assert "chat gpt-realtime-2.1" in [span.name for span in traces.spans]
    assert "gpt-realtime-2.1" == facts(traces.root)["otel_realtime.model"]


def test_speakers_and_languages() -> None:
    """On the transcription's span, in the transcript and on the root."""
    kind = "conversation.item.input_audio_transcription."
    part = {"item_id": "u", "content_index": 0}
    segment = {"text": "Hello.", "speaker": "A", "start": 0.0, "end": 1.5}
    traces = play(
        [
            SESSION,
            row("recv", 10, "input_audio_buffer.committed", item_id="u"),
            row("recv", 20, kind + "segment", id="s1", **segment, **part),
            row(
                "recv",
                30,
                kind + "completed",
                transcript="Hello.",
                languages=[{"code": "en"}, {"code": "es"}],
                usage={"type": "duration", "seconds": 2},
                **part,
            ),
        ]
    )
    (turn,) = turns(traces)
    assert [segment] == turn["segments"]
    found = facts(traces.one("transcribe whisper-1"))
    (message,) = value(found, "gen_ai.completion")["messages"]
    assert ("Hello.", [segment]) == (message["content"], message["segments"])
    root = facts(traces.root)["otel_realtime.languages"]
    assert "en,es" == found["otel_realtime.languages"] == root


def barge_in(text: str, *, to_ms: int = 2_400) -> list[Any]:
    """An answer of 3 s that the user's voice stops after 1 s; the user says ``text``."""
    session = {
        "type": "realtime",
        "audio": {
            "input": {
                "transcription": {"model": "whisper-1"},
                "turn_detection": {
                    "type": "server_vad",
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                },
            }
        },
    }
    delta = base64.b64encode(bytes(3_000 * 48)).decode()
    item = {"id": "a", "type": "message", "role": "assistant"}
    part = {"response_id": "r", "item_id": "a", "content_index": 0}
    said = "conversation.item.input_audio_transcription.completed"
    return [
        row("recv", 0, "session.created", session=session),
        row("recv", 100, "response.created", response=RESPONSE),
        row("recv", 150, "response.output_item.added", response_id="r", item=item),
        row("recv", 200, "response.output_audio.delta", delta=delta, **part),
        row("recv", 300, "response.done", response={**RESPONSE, "status": "completed"}),
        row("recv", 1_200, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=1_000),
        row("recv", 2_500, "input_audio_buffer.speech_stopped", item_id="u", audio_end_ms=to_ms),
        row("recv", 2_501, "input_audio_buffer.committed", item_id="u"),
        row("recv", 4_900, said, item_id="u", content_index=0, transcript=text),
        row("recv", 9_000, "rate_limits.updated", rate_limits=[]),
    ]


@pytest.mark.parametrize(
    ("rows", "false"),
    [
        (barge_in("Stop."), False),
        (barge_in(""), True),
        (barge_in("", to_ms=1_900), True),
        (barge_in("Stop please.", to_ms=2_000), False),
        (barge_in("you", to_ms=2_000), True),
    ],
)
def test_an_agent_that_stops_for_nothing(rows: list[Any], false: bool) -> None:
    """The VAD heard a voice, but nothing was said; it waits for the words before it says so."""
    traces = play(rows)
    (found,) = chats(traces).values()
    assert ("vad", false, 1_000) == (
        found["otel_realtime.interruption_cause"],
        found["otel_realtime.false_interruption"],
        found["otel_realtime.heard_ms"],
    )
    root = facts(traces.root)
    names = ("interruptions", "interruptions_by_vad", "false_interruptions")
    assert (1, 1, int(false)) == tuple(root["otel_realtime." + name] for name in names)
    assert int(false) == root.get("otel_realtime.false_interruptions_by_vad", 0)


def test_push_to_talk_has_its_place_and_length() -> None:
    """By what the client appended up to each commit; what it cleared or could not commit is none."""
    block = base64.b64encode(bytes(20 * 48)).decode()

    def speech(start_ms: int, end_ms: int) -> list[Any]:
        blocks = range(start_ms, end_ms, 20)
        return [row("sent", at + 20, "input_audio_buffer.append", audio=block) for at in blocks]

    traces = play(
        [
            SESSION,
            *speech(0, 400),
            row("sent", 410, "input_audio_buffer.clear"),
            *speech(1_000, 2_500),
            row("sent", 2_510, "input_audio_buffer.commit"),
            row("sent", 2_511, "input_audio_buffer.commit", event_id="twice"),
            row("recv", 2_550, "input_audio_buffer.committed", item_id="u1"),
            row("recv", 2_560, "error", error={"event_id": "twice", "code": "empty"}),
            row("recv", 2_570, "response.created", response=RESPONSE),
            *speech(5_000, 5_800),
            row("sent", 5_810, "input_audio_buffer.commit"),
            row("recv", 5_850, "input_audio_buffer.committed", item_id="u2"),
        ]
    )
    (found,) = chats(traces).values()
    assert ["[audio 1.5 s]"] == asked(found)
    (turn,) = turns(traces)
    assert ("[audio 1.5 s] [audio 0.8 s]", 1_000, 5_800) == (
        turn["text"],
        turn["start_ms"],
        turn["end_ms"],
    )


def test_the_wait_after_push_to_talk_is_not_the_apps() -> None:
    """It sent the commit and the request at once; the server took its time to answer either."""
    voice = base64.b64encode(b"\x00\x20\x00\xe0" * (20 * 12)).decode()
    block = base64.b64encode(bytes(300 * 48)).decode()
    part = {"response_id": "r", "item_id": "a", "content_index": 0, "output_index": 0}
    answer = {"id": "a", "type": "message", "role": "assistant", "content": []}
    traces = play(
        [
            SESSION,
            *(
                row("sent", at, "input_audio_buffer.append", audio=voice)
                for at in range(20, 1_001, 20)
            ),
            row("sent", 1_010, "input_audio_buffer.commit"),
            row("sent", 1_012, "response.create"),
            row("recv", 1_015, "error", error={"event_id": "other", "code": "whatever"}),
            row("recv", 1_210, "input_audio_buffer.committed", item_id="u1"),
            row("recv", 1_212, "response.created", response=RESPONSE),
            row("recv", 1_300, "response.output_item.added", response_id="r", item=answer),
            row("recv", 1_500, "response.output_audio.delta", delta=block, **part),
            row("recv", 1_510, "response.done", response={**RESPONSE, "status": "completed"}),
            row("recv", 4_000, "rate_limits.updated"),
        ]
    )
    (found,) = chats(traces).values()
    wait = "otel_realtime.latency."
    assert {"end_of_speech": 10, "request": 2, "response": 200, "model": 288} == {
        name: found[f"{wait}{name}_ms"]
        for name in ("end_of_speech", "request", "response", "model")
    }
    assert found["otel_realtime.voice_to_voice_ms"] == sum(
        each for key, each in found.items() if key.startswith(wait) and key.endswith("_ms")
    )


def test_an_answer_that_was_cancelled_and_played_all_the_same() -> None:
    """A cancel stops the model, not the player: by the sound it was heard whole, and that rules."""
    item = {"id": "a", "type": "message", "role": "assistant"}
    part = {"response_id": "r", "item_id": "a", "content_index": 0}
    text = [{"type": "output_audio", "transcript": "Hello there."}]
    details = {"type": "cancelled", "reason": "client_cancelled"}
    cancelled = {**RESPONSE, "status": "cancelled", "status_details": details}
    traces = play(
        [
            *sentence()[:3],
            row("recv", 200, "response.output_audio.delta", delta="AAAA" * 12_000, **part),
            row("sent", 300, "response.cancel"),
            row(
                "recv",
                320,
                "response.done",
                response={
                    **cancelled,
                    "output": [{**item, "status": "incomplete", "content": text}],
                },
            ),
            row("recv", 9_000, "rate_limits.updated", rate_limits=[]),
        ]
    )
    (found,), (turn,) = chats(traces).values(), turns(traces)
    assert ("Hello there.", False, False) == (
        turn["heard_text"],
        turn["interrupted"],
        found["otel_realtime.interrupted"],
    )
    assert ("client_cancelled",) == found["gen_ai.response.finish_reasons"]


def test_a_model_call_belongs_to_the_session_it_was_made_in() -> None:
    """A reconnect begins another one, perhaps with another model, before the call is written."""
    done = {**RESPONSE, "status": "completed", "output": []}
    traces = play(
        [
            row("recv", 0, "session.created", session={"id": "s1", "model": "one"}),
            row("recv", 10, "response.created", response=RESPONSE),
            row("recv", 20, "response.done", response=done),
            row("recv", 21, "session.created", session={"id": "s2", "model": "two"}),
        ]
    )
    (found,) = chats(traces).values()
    assert ("s1", "one") == (found["gen_ai.realtime_session.id"], found["gen_ai.request.model"])


def called(response_id: str, item_id: str, number: int, at: int) -> list[Any]:
    """A response that calls a function, always by the same ``call_id``, and its result."""
    call = {"id": item_id, "type": "function_call", "status": "completed", "name": "look"}
    call |= {"call_id": "call_0", "arguments": f'{{"n":{number}}}'}
    result = {"type": "function_call_output", "call_id": "call_0", "output": f"result {number}"}
    begun = {**RESPONSE, "id": response_id}
    ended = {**begun, "status": "completed", "output": [call]}
    return [
        row("recv", at, "response.created", response=begun),
        row("recv", at + 10, "response.output_item.done", response_id=response_id, item=call),
        row("recv", at + 20, "response.done", response=ended),
        row("sent", at + 300, "conversation.item.create", item=result),
        row("recv", at + 310, "conversation.item.added", item={**result, "id": f"o{number}"}),
    ]


def test_a_call_id_that_is_used_again() -> None:
    """Each item is a call of its own, with its own span, arguments and result."""
    last = row("recv", 2_000, "response.created", response={**RESPONSE, "id": "r3"})
    traces = play([SESSION, *called("r1", "f1", 1, 100), *called("r2", "f2", 2, 1_000), last])
    assert [('{"n":1}', '"result 1"'), ('{"n":2}', '"result 2"')] == [
        (found["gen_ai.tool.call.arguments"], found["gen_ai.tool.call.result"])
        for found in map(facts, traces.named("execute_tool look"))
    ]
    assert 2 == facts(traces.root)["otel_realtime.tool_calls"]
    found = chats(traces)
    for name, number in (("r2", 1), ("r3", 2)):
        call, result = value(found[name], PROMPT)["messages"]
        arguments = call["tool_calls"][0]["function"]["arguments"]
        assert (f'{{"n":{number}}}', f"result {number}") == (arguments, result["content"])


def test_a_call_id_of_an_aside_that_is_used_again() -> None:
    """Nobody answers the aside's call: it ended with its response."""
    aside = called("r1", "f1", 1, 100)[:3]
    for each in (aside[0], aside[2]):
        each["event"]["response"]["conversation_id"] = None
    traces = play([SESSION, *aside, *called("r2", "f2", 2, 1_000)])
    first, second = traces.named("execute_tool look")
    assert ('{"n":1}', None) == (
        facts(first)["gen_ai.tool.call.arguments"],
        facts(first).get("gen_ai.tool.call.result"),
    )
    assert ('{"n":2}', '"result 2"') == (
        facts(second)["gen_ai.tool.call.arguments"],
        facts(second)["gen_ai.tool.call.result"],
    )
    assert not [span.name for span in (first, second) if "error.type" in facts(span)]
    assert 2 == facts(traces.root)["otel_realtime.tool_calls"]


def test_hidden_inputs_hide_who_speaks(monkeypatch: Any) -> None:
    """A speaker's label may be a name."""
    monkeypatch.setenv("LANGSMITH_HIDE_INPUTS", "true")
    kind = "conversation.item.input_audio_transcription."
    part = {"item_id": "u", "content_index": 0}
    segment = {"text": "Hello.", "speaker": "Jane Doe", "start": 0.0, "end": 1.5}
    traces = play(
        [
            SESSION,
            row("recv", 10, "input_audio_buffer.committed", item_id="u"),
            row("recv", 20, kind + "segment", id="s1", **segment, **part),
            row("recv", 30, kind + "completed", transcript="Hello.", **part),
        ]
    )
    assert not [span.name for span in traces.spans if "Jane" in str(facts(span))]
