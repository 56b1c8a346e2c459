"""A journal says all there is to say, and a part of it says a part."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

import otel_realtime
from otel_realtime.conversation.sockets import Sockets
from otel_realtime.delivery.model import Closing, Opening
from otel_realtime.errors import RecordingError
from otel_realtime.process.process import PROCESS
from otel_realtime.recording.render import render
from otel_realtime.recovery.rebuild import rebuild
from otel_realtime.recovery.replay import replay
from otel_realtime.tap import Close
from tests.recovery.conftest import end, one_turn, tool_call, without_list
from tests.support.own_process import shaken
from tests.support.streams import asked, created, done, received, said
from tests.support.traces import Traces, outline
from tests.support.waiting import wait_for

Snapshot = Callable[[otel_realtime.Conversation], Path]
pytestmark = pytest.mark.usefixtures("away")


def told(call: otel_realtime.Conversation) -> tuple[Opening, Closing]:
    """What the live process wants to tell LangSmith of a conversation that is over."""
    delivery = call._engine.trace.delivery
    assert delivery is not None
    assert delivery._end is not None
    return delivery.opening, delivery._end.closing


def test_the_root_ends_as_the_live_process_would_have_ended_it(
    traces: Traces, snapshot: Snapshot
) -> None:
    """Inputs, outputs, metadata, times and numbers of a finished call come out the same."""
    call = one_turn(traces, thread_id="thread-7", metadata={"tier": "gold"}, tags=["a"])
    call.set_metadata(seat=4)
    call.add_tags("b")
    call.received("no event at all")
    end(call)
    opening, closing = told(call)
    rebuilt = rebuild(replay(snapshot(call)), marked=True)
    assert closing == rebuilt.closing
    assert (opening.trace_id, opening.span_id, opening.start_ns, opening.name) == (
        rebuilt.opening.trace_id,
        rebuilt.opening.span_id,
        rebuilt.opening.start_ns,
        rebuilt.opening.name,
    )
    assert [] == rebuilt.below


def test_a_title_is_what_the_live_process_would_have_given(
    traces: Traces, snapshot: Snapshot
) -> None:
    """Its setting stands in the journal; without it the run keeps its name."""
    for mode in ("first_utterance", "fixed"):
        settings = otel_realtime.Settings(title=mode)
        call = otel_realtime.conversation(
            tracer_provider=traces.provider, settings=settings
        ).__enter__()
        item = said("What is the weather?", id="u")
        call.received({"type": "conversation.item.added", "item": item})
        folder = snapshot(call)
        end(call)
        _, closing = told(call)
        expected = "What is the weather?" if mode == "first_utterance" else None
        assert expected == closing.name == rebuild(replay(folder), marked=True).closing.name


def test_the_apps_own_times_are_kept(traces: Traces, snapshot: Snapshot) -> None:
    """A conversation of the past is recovered in the past."""
    start_ns = 1_700_000_000 * 10**9
    call = otel_realtime.conversation(tracer_provider=traces.provider).__enter__()
    for step, kind in enumerate(("session.created", "rate_limits.updated")):
        call.received({"type": kind}, at_ns=start_ns + step * 10**9)
    folder = snapshot(call)
    end(call)
    opening, closing = told(call)
    rebuilt = rebuild(replay(folder), marked=True)
    assert start_ns == opening.start_ns == rebuilt.opening.start_ns
    assert (start_ns + 10**9) // 1000 == rebuilt.closing.end_ns // 1000
    assert closing.end_ns // 1000 == rebuilt.closing.end_ns // 1000
    assert 2 == rebuilt.closing.metadata["event_count"]


def test_the_open_event_is_as_it_would_have_been(traces: Traces, snapshot: Snapshot) -> None:
    """The event that was being handled has its id, place, payload and numbers."""
    call = one_turn(traces)
    call.received({"type": "rate_limits.updated", "event_id": "event_9", "rate_limits": []})
    folder = snapshot(call)
    end(call)
    live = next(span for span in traces.named("rate_limits.updated"))
    again = next(s for s, _ in rebuild(replay(folder), marked=True).below if s.name == live.name)
    assert identity(live) == identity(again)
    assert shown(live) == shown(again)


def shown(span: ReadableSpan) -> dict[str, Any]:
    """Its attributes, the payload as the JSON it is."""
    found = dict(span.attributes or {})
    return {**found, "gen_ai.prompt": json.loads(str(found["gen_ai.prompt"]))}


def identity(span: ReadableSpan) -> tuple[object, ...]:
    """Which span it is, and where."""
    context, parent = span.get_span_context(), span.parent
    assert context is not None
    above = parent.span_id if parent is not None else None
    return span.name, context.trace_id, context.span_id, above, span.start_time, span.kind


def test_an_apps_open_span_is_there_so_that_its_children_have_a_parent(
    traces: Traces, snapshot: Snapshot
) -> None:
    """A span of the app's that was open in a tool is rebuilt, with an error."""
    call = one_turn(traces)
    call.received({"type": "rate_limits.updated"})
    with call.tool(name="search"), traces.tracer.start_as_current_span("query") as query:
        folder = snapshot(call)
        assert query.is_recording()
    end(call)
    below = [span for span, _ in rebuild(replay(folder), marked=True).below]
    lines = outline([*below, rebuild(replay(folder), marked=True).root])
    assert "    execute_tool search" in lines
    assert "      query" in lines
    errors = {span.name: span.status.description for span in below if not span.status.is_ok}
    assert {"execute_tool search", "query"} <= errors.keys()


def told_of_tools(rebuilt: Any) -> list[tuple[Any, ...]]:
    """The recovered tool spans: name, type of the failure, how the times are known."""
    return [
        (
            span.name,
            span.attributes.get("error.type"),
            span.attributes.get("otel_realtime.tool.timing"),
            "otel_realtime.tool.waited_ms" in span.attributes,
        )
        for span, _ in rebuilt.below
        if span.name.startswith("execute_tool")
    ]


def report(call: otel_realtime.Conversation, *rows: Any) -> None:
    """Report what was received and sent."""
    for is_sent, event in rows:
        (call.sent if is_sent else call.received)(event)


def test_each_call_is_what_it_was_when_the_process_died(traces: Traces, snapshot: Snapshot) -> None:
    """Announced: open. Cut off: none. Out of band: over, and no error. Run twice: both are there."""
    call = one_turn(traces)
    outside = {"conversation_id": None}
    half = asked("item_1", "call_half", status="incomplete", name="half")

    def arguments(call_id: str, **keys: Any) -> Any:
        told = {"item_id": f"item_{call_id}", "call_id": call_id, "name": call_id, **keys}
        return received("response.function_call_arguments.done", arguments="{}", **told)

    report(call, created("r1"), arguments("call_half"), done("r1", half, status="cancelled"))
    report(call, created("r2", **outside), arguments("outside", response_id="r2"))
    report(call, done("r2", **outside), created("r3"), arguments("announced"))
    report(call, created("r4"), arguments("twice", response_id="r4"), done("r4"))
    with call.tool("twice"):
        pass
    block = call.tool("twice")
    block.__enter__()
    folder = snapshot(call)
    rebuilt = rebuild(replay(folder), marked=True)
    assert [
        ("execute_tool announced", "process_died", "wire", True),
        ("execute_tool outside", None, "wire", False),
        ("execute_tool twice", "process_died", "exact", True),
        ("execute_tool twice", "process_died", "exact", True),
    ] == sorted(told_of_tools(rebuilt), key=lambda one: (one[0], str(one[1])))
    tool_calls = rebuilt.closing.metadata["tool_calls"]
    block.__exit__(None, None, None)
    end(call)
    assert told(call)[1].metadata["tool_calls"] == tool_calls


def test_an_event_that_ended_just_now_is_there_for_the_tool_below_it(
    traces: Traces, snapshot: Snapshot
) -> None:
    """Its span had no time to reach the disk; it is made again as it was, to be sent by itself."""
    call = one_turn(traces)
    tool_call(call)
    with call.tool("call_9"):
        folder = without_list(snapshot(call))
    end(call)
    live = traces.named("response.done")[-1]
    [(again, _)] = rebuild(replay(folder), marked=True).again
    assert identity(live) == identity(again)
    assert (live.end_time, shown(live)) == (again.end_time, shown(again))
    [tool] = [s for s, _ in rebuild(replay(folder), marked=True).below if "execute" in s.name]
    assert tool.parent is not None
    assert tool.parent.span_id == identity(again)[2]


def test_no_event_is_made_again_that_was_sent_or_that_nothing_needs(
    traces: Traces, snapshot: Snapshot
) -> None:
    """One on disk, one before another on disk, one that ended long ago, one without anything below."""
    call = one_turn(traces)
    tool_call(call)
    call.received({"type": "rate_limits.updated", "rate_limits": []})
    call._engine.frames.before_receive()
    with call.tool("call_9"):
        folder = without_list(snapshot(call))
    end(call)
    ids = {span.name: identity(span)[2] for span in traces.spans}
    done, later = int(str(ids["response.done"])), int(str(ids["rate_limits.updated"]))

    def again(spooled: dict[int, int]) -> list[str]:
        return [s.name for s, _ in rebuild(replay(folder), marked=True, spooled=spooled).again]

    assert ["response.done"] == again({})
    assert ["response.done"] == again({7: done})
    assert ["response.done", "rate_limits.updated"] == again({7: later})
    assert [] == again({done: 0})
    assert [] == again({later: 0})
    journal = folder / "journal.jsonl"
    last = json.loads(journal.read_text().splitlines()[-1])
    with journal.open("a") as file:
        file.write(json.dumps(["user", last[1] + 1_100_000_000, 0, 960]) + "\n")
    assert [] == again({})


def test_a_recovery_makes_the_same_spans_each_time(traces: Traces, snapshot: Snapshot) -> None:
    """What was not settled gets the same ids in a second recovery."""
    call = one_turn(traces)
    call.received({"type": "response.created", "response": {"id": "resp_9"}})
    folder = snapshot(call)
    end(call)
    first, second = (rebuild(replay(folder), marked=True).below for _ in range(2))
    assert [identity(span) for span, _ in first] == [identity(span) for span, _ in second]
    assert "chat gpt-realtime" in {span.name for span, _ in first}


def test_credentials_that_an_earlier_version_let_through_go_no_further(
    traces: Traces, snapshot: Snapshot
) -> None:
    """It knew fewer names: in what the app said, in events, in what was not complete."""
    call = one_turn(traces, metadata={"note": "PLACE-1"}, tags=["PLACE-2"])
    call.set_metadata(more="PLACE-3")
    call.received(received("conversation.item.added", item=said("PLACE-4", id="u9"))[1])
    call.received(created("resp_9")[1])
    delta = {"response_id": "resp_9", "item_id": "a9", "content_index": 0, "delta": "PLACE-5"}
    call.received({"type": "response.output_text.delta", **delta})
    end(call)
    folder = snapshot(call)
    journal = folder / "journal.jsonl"
    text = journal.read_text()
    assert all(f"PLACE-{number}" in text for number in range(1, 6))
    for number in range(1, 6):
        text = text.replace(f"PLACE-{number}", f"x-api-key=hunter2-{number} shown-{number}")
    journal.write_text(text)
    rebuilt = rebuild(replay(folder), marked=False)
    told = str([rebuilt.closing, rebuilt.opening, *(span.to_json() for span in rebuilt.spans)])
    assert "hunter2" not in told
    assert all(f"shown-{number}" in told for number in (1, 2, 3, 4, 5))


def test_a_journal_cut_anywhere(traces: Traces, snapshot: Snapshot, tmp_path: Path) -> None:
    """Whatever prefix of journal and sources is left, it makes a root, spans and a recording."""
    call = one_turn(traces)
    folder = snapshot(call)
    end(call)
    journal = (folder / "journal.jsonl").read_bytes()
    header = journal.index(b"\n")
    chance = random.Random(7)
    cuts = [0, header - 1, header, *(chance.randrange(header, len(journal)) for _ in range(40))]
    for number, cut in enumerate(cuts):
        part = tmp_path / f"cut{number}"
        shutil.copytree(folder, part)
        (part / "journal.jsonl").write_bytes(journal[:cut])
        if number % 2:
            for source in part.glob("*.raw"):
                sound = source.read_bytes()
                source.write_bytes(sound[: chance.randrange(len(sound))])
        if cut < header:
            with pytest.raises(RecordingError):
                replay(part)
            continue
        rebuilt = rebuild(replay(part), marked=True)
        assert rebuilt.closing.error == "the process died while the conversation was open"
        assert call.trace_id == f"{rebuilt.root.context.trace_id:032x}"
        assert render(part, part / "out.wav").frames >= 0


def test_a_journal_of_nonsense_is_survived(traces: Traces, snapshot: Snapshot) -> None:
    """Records that make no sense are left out, the others count."""
    call = one_turn(traces)
    folder = snapshot(call)
    end(call)
    with (folder / "journal.jsonl").open("ab") as journal:
        for line in (
            b'["event",5,{"at":1}]', b'["event",5,[]]', b'["user",5,"x",null]', b'["agent",5]',
            b'["span",5,{"span":"zz"}]', b'["unknown",5,1]', b"\xff\xfe", b'["settled",5,{"ids":7}]',
        ):  # fmt: skip
            journal.write(line + b"\n")
    assert rebuild(replay(folder), marked=True).closing.metadata["tool_calls"] == 1


def test_a_kill_in_mid_sentence_shows_what_was_said(traces: Traces, snapshot: Snapshot) -> None:
    """By both sides, as a hang-up would have shown it."""
    call = one_turn(traces)
    call.received({"type": "input_audio_buffer.speech_started", "item_id": "u9"})
    heard = {"type": "conversation.item.input_audio_transcription.delta", "item_id": "u9"}
    call.received({**heard, "content_index": 0, "delta": "And "})
    call.received({**heard, "content_index": 0, "delta": "then"})
    call.received({"type": "response.created", "response": {"id": "resp_9"}})
    said = {"type": "response.output_audio_transcript.delta", "response_id": "resp_9"}
    for text in ("Then ", "we"):
        call.received({**said, "item_id": "a9", "content_index": 0, "delta": text})
    asked = {"type": "response.function_call_arguments.delta", "response_id": "resp_9"}
    call.received({**asked, "item_id": "f9", "call_id": "c9", "delta": '{"city": "Par'})
    frames = call._engine.frames
    wait_for(lambda: not frames._partials.is_due, "text that was kept", timeout_s=2)
    folder = snapshot(call)
    end(call)
    _, closing = told(call)
    rebuilt = rebuild(replay(folder), marked=True)
    last = [
        (turn["role"], turn["text"], turn["interrupted"])
        for turn in (rebuilt.closing.outputs or {})["messages"][-2:]
    ]
    assert [("user", "And then", True), ("assistant", "Then we", True)] == last
    assert (closing.outputs or {})["messages"][-2:][0]["text"] == "And then"
    *_, chat = [span for span, _ in rebuilt.below if span.name.startswith("chat ")]
    messages = str((chat.attributes or {})["gen_ai.output.messages"])
    assert "Then we" in messages
    assert "Par" in messages


def test_a_tool_that_the_app_began_before_it_was_announced(
    traces: Traces, snapshot: Snapshot
) -> None:
    """Its arguments came when its span had begun, and are there after a kill, too."""
    call = one_turn(traces)
    with call.tool("c7", name="look"):
        item = {"item_id": "f7", "call_id": "c7", "name": "look_up", "arguments": '{"a":1}'}
        call.received({"type": "response.function_call_arguments.done", **item})
        folder = snapshot(call)
    end(call)
    below = {
        span.name: span.attributes or {} for span, _ in rebuild(replay(folder), marked=True).below
    }
    assert '{"a":1}' == below["execute_tool look"]["gen_ai.tool.call.arguments"]


def test_between_two_sockets_it_is_as_its_end_would_have_left_it(
    traces: Traces, snapshot: Snapshot
) -> None:
    """A process that is killed then has lost nothing: the root, the gaps, what the closes cut off."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with otel_realtime.using(thread_id="t"):
        for number in range(3):
            item = asked(f"item_{number}", f"call_{number}")
            rows = [
                received("session.created", session={"id": f"sess_{number}", "model": "m"}),
                created(f"resp_{number}"),
                received("response.output_item.done", response_id=f"resp_{number}", item=item),
            ]
            sink = Sockets(PROCESS).opened(shaken(), sdk=False)
            assert sink is not None
            for _, event in rows:
                sink.received(json.dumps(event))
                sink.before_receive()
            code = 1011 if number else 1000
            sink.closed(
                Close(received_code=code, received_reason="", sent_code=None, by_client=False)
            )
        call = otel_realtime.current_conversation()
        assert call is not None
        folder = snapshot(call)
    assert PROCESS.finisher.flush(10)
    _, closing = told(call)
    rebuilt = rebuild(replay(folder, whole=True), marked=True)
    assert closing == rebuilt.closing
    kinds = ("reconnect", "chat m", "execute_tool weather")
    expected = {ended(span) for span in traces.spans if span.name in kinds}
    assert 2 + 3 + 3 == len(expected)
    found = [span for span, _ in (*rebuilt.again, *rebuilt.below) if span.name in kinds]
    assert expected == {ended(span) for span in found}


def ended(span: ReadableSpan) -> tuple[object, ...]:
    """Which span it is, when it ended, and what was wrong."""
    return *identity(span), span.end_time, span.status.description
