"""How a root ends: the same facts for the OTel span and for the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from otel_realtime.core.protocol.outcome import Ending, Failure, Tally
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.delivery.model import Opening
from otel_realtime.tracing.closing import RootEnd, recording_info, run_opening
from otel_realtime.version import VERSION
from tests.support.calls import Call, tone
from tests.support.rig import Rig
from tests.support.span_tables import ALL, META, OURS, who
from tests.support.streams import CALL, START_NS, feed

S = 10**9


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """A second of the user's voice, a second of the agent's, a second of nobody's."""
    found = Call(tmp_path / "call")
    found.speak(0, tone(1_000))
    found.hear(1_000, tone(1_000), "item_5")
    return found


def closed(call: Call, *, measured: bool = True, **given: Any) -> RootEnd:
    """The end of the shared small call, three seconds after its start."""
    call.track.close(3 * S, True)
    if measured:
        call.track.measure()
    state, _ = feed(CALL)
    told: dict[str, Any] = {
        "identity": who(metadata={"a": 1}, tags=["x"]),
        "trace_id": "0" * 31 + "1",
        "start_ns": START_NS,
        "state": state,
        "audio": call.track,
        "tally": Tally(),
        "ending": Ending(),
        "moment": Moment(3 * S, START_NS + 3 * S),
        "policy": ALL,
        "dropped": 4,
        "records": True,
        "leg": "direct",
        "delivers_root": True,
        "refused": False,
        "limit": 4096,
    }
    return RootEnd(**{**told, **given})


def test_span_and_run_say_the_same(call: Call, rig: Rig) -> None:
    """Every fact of the run stands on the span, and both end together."""
    end, root = closed(call), rig.root()
    run = end.run_closing()
    end.end(root, mark=None)
    assert isinstance(root, ReadableSpan)
    found = root.attributes or {}
    facts = {key: value for key, value in run.metadata.items() if key != "a"}
    assert facts == {key: found[META + key] for key in facts}
    assert (run.end_ns, None) == (root.end_time, run.error)
    assert (1, ["x"]) == (run.metadata["a"], run.tags)


def test_a_root_that_is_delivered_another_way_says_so(call: Call, rig: Rig) -> None:
    """Then LangSmith's metadata is the run's."""
    root = rig.root()
    closed(call).end(root, mark=("marked", "yes"))
    assert isinstance(root, ReadableSpan)
    found = root.attributes or {}
    assert ("yes", 2, False) == (
        found["marked"],
        found[OURS + "turns"],
        META + "turns" in found,
    )


def test_it_ends_after_every_span_below_it(call: Call) -> None:
    """And after its start, whatever the clock said."""
    assert START_NS + 3 * S + 1 == closed(call).end_ns
    backwards = closed(call, moment=Moment(0, START_NS - 5))
    assert (START_NS + 1, 0.0) == (backwards.end_ns, backwards.metadata()["duration_s"])


def test_what_it_came_to(call: Call) -> None:
    """Length, talk times, what found no room, and the trace."""
    found = closed(call).metadata()
    assert {
        "duration_s": 3.0,
        "user_talk_s": 1.0,
        "agent_talk_s": 1.0,
        "overlap_s": 0.0,
        "dead_air_s": 1.0,
        "longest_silence_s": 1.0,
        "agent_over_user_s": 0.0,
        "dropped_events": 4,
        "OTEL_TRACE_ID": "0" * 31 + "1",
        "ls_modality": "audio",
    }.items() <= found.items()


def test_talk_times_are_told_once_they_are_exact(call: Call) -> None:
    """Not while some of the sound is still to be taken in, and then counted anew."""
    before = closed(call, measured=False)
    assert "user_talk_s" not in before.metadata()
    call.track.measure()
    after = before.with_final_tally()
    assert 1.0 == after.metadata()["user_talk_s"]
    assert ([], [830]) == (before.tally.first_audio_ms, after.tally.first_audio_ms)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, "pending"),
        ({"records": False}, "disabled"),
        ({"refused": True}, "failed"),
        ({"delivers_root": False}, "no_credentials"),
        ({"delivers_root": False, "leg": "collector"}, "no_credentials"),
        ({"delivers_root": False, "leg": "none"}, "none"),
    ],
)
def test_what_becomes_of_the_recording(call: Call, given: dict[str, Any], status: str) -> None:
    """As far as it is known now; only one that is to come has a beginning."""
    found = closed(call, **given).metadata()
    assert (status, status == "pending") == (
        found["ls_audio_attach_status"],
        "ls_audio_recording_started_at" in found,
    )


def test_a_recording_that_could_not_be_written_says_why(call: Call) -> None:
    """And is not waited for."""
    call.track.fail(OSError("no room"))
    found = closed(call).metadata()
    assert "failed" == found["ls_audio_attach_status"]
    assert "no room" in found["recording_error"]


def test_a_call_without_sound_has_no_recording(tmp_path: Path) -> None:
    """None is missed."""
    found = closed(Call(tmp_path / "silent"), state=feed([])[0]).metadata()
    assert ("none", False) == (found["ls_audio_attach_status"], "ls_modality" in found)


def test_a_failure_stands_on_both(call: Call, rig: Rig) -> None:
    """As an error of the run, and as status and exception of the span."""
    end, root = closed(call, ending=Ending(failure=Failure("c", "why"))), rig.root()
    end.end(root, mark=None)
    assert isinstance(root, ReadableSpan)
    (event,) = root.events
    assert ("why", "why", "exception", end.end_ns) == (
        end.run_closing().error,
        root.status.description,
        event.name,
        event.timestamp,
    )


def test_a_root_run_as_it_is_posted() -> None:
    """With what is known at the start, the app's own below ours."""
    who_it_is = who(model="m", metadata={"a": 1, "model": "mine"}, tags=["x"])
    assert Opening(
        trace_id=1,
        span_id=2,
        name="realtime_session",
        start_ns=START_NS,
        metadata={
            "a": 1,
            "model": "m",
            "thread_id": "thread",
            "ls_integration": "otel-realtime",
            "ls_integration_version": VERSION,
            "ls_agent_type": "root",
            "ls_modality": "audio",
            "OTEL_TRACE_ID": "0" * 31 + "1",
        },
        tags=["x"],
    ) == run_opening(who_it_is, trace_id=1, span_id=2, start_ns=START_NS, voice=True)
    text = run_opening(who_it_is, trace_id=1, span_id=2, start_ns=START_NS, voice=False)
    assert "ls_modality" not in text.metadata


def test_a_modality_that_was_assumed_is_taken_back(call: Call, tmp_path: Path) -> None:
    """Before the first event a conversation counts as one of voices; its end knows."""
    assert "audio" == closed(call).run_closing().metadata["ls_modality"]
    silent = closed(Call(tmp_path / "silent"), state=feed([])[0])
    assert silent.run_closing().metadata["ls_modality"] is None


def test_what_is_told_of_a_recording_is_a_copy() -> None:
    """The app may do with it what it likes."""
    who_it_is = who(metadata={"a": 1})
    told = recording_info(who_it_is, "1", START_NS)
    told["metadata"]["a"] = 2
    assert {"a": 1} == who_it_is.metadata
    assert ("thread", "1", START_NS / 1e9) == (
        told["thread_id"],
        told["trace_id"],
        told["started_at_s"],
    )
