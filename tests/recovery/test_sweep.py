"""What recovery does with each thing it finds, where to it delivers, and when it starts."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wavinfo
from opentelemetry.sdk.trace import ReadableSpan

import otel_realtime
from otel_realtime import cli
from otel_realtime.attributes import ROOT_MARKER
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.exporter import DirectExporter
from otel_realtime.recovery.sweep import recover
from otel_realtime.sandbox import Sandbox
from otel_realtime.settings import Settings
from otel_realtime.state import owner
from otel_realtime.state.spool import SPOOL, Spool
from tests.recovery.conftest import DEAD, NOWHERE, end, one_turn, tool_call, without_list
from tests.support import golden
from tests.support.isolation import langsmith_variables
from tests.support.langsmith_server import LangSmithServer, Reply, Request, attributes
from tests.support.rig import QUICK, make_rig
from tests.support.traces import Traces, facts
from tests.support.victims import files_below
from tests.support.waiting import wait_for

Snapshot = Callable[[otel_realtime.Conversation], Path]


@pytest.fixture
def left(away: None, traces: Traces, snapshot: Snapshot, tmp_path: Path) -> Path:
    """A state directory with one conversation that was killed after its first turn."""
    call = one_turn(traces)
    call.received({"type": "rate_limits.updated", "rate_limits": []})
    snapshot(call)
    end(call)
    return tmp_path / "left"


@pytest.fixture
def left_with_tool(away: None, traces: Traces, snapshot: Snapshot, tmp_path: Path) -> Path:
    """A state directory with a conversation that was killed in a tool, its event just over."""
    call = one_turn(traces)
    tool_call(call)
    with call.tool("call_9"):
        without_list(snapshot(call))
    end(call)
    return tmp_path / "left"


def move(state: Path, url: str) -> None:
    """Let what stands there be meant for this LangSmith."""
    for path in files_below(state):
        if path.suffix in (".jsonl", ".spans"):
            path.write_bytes(path.read_bytes().replace(NOWHERE.encode(), url.encode()))


def at(server: LangSmithServer, state: Path, process: pytest.MonkeyPatch) -> Settings:
    """This process delivers to a server, and what is left is meant for it."""
    for name, value in langsmith_variables(server.url).items():
        process.setenv(name, value)
    move(state, server.url)
    return Settings(state_dir=state)


def test_other_destinations_get_what_was_open_too(left: Path, process: pytest.MonkeyPatch) -> None:
    """The OTLP endpoint of the environment gets the open spans and the root, marked, once."""
    with LangSmithServer() as langsmith, LangSmithServer() as jaeger:
        settings = at(langsmith, left, process)
        process.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", jaeger.url)
        process.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        langsmith.judge = lambda r: Reply(400) if r.path.endswith("/runs/multipart") else None
        assert not recover(settings, timeout_s=10).complete
        sent = [span for r in jaeger.requests for span in r.spans()]
        assert {"realtime_session", "rate_limits.updated"} <= {span.name for span in sent}
        root = next(span for span in sent if span.name == "realtime_session")
        assert "runs_api" == attributes(root)[ROOT_MARKER]
        assert "process_died" == attributes(root)["error.type"]
        assert "realtime_session" not in {span.name for span in langsmith.spans()}
        before = len(langsmith.spans())
        langsmith.judge = lambda _: None
        assert recover(settings, timeout_s=10).complete
        assert 1 == len(jaeger.requests)
        assert before == len(langsmith.spans())
    assert [] == files_below(left)


def test_langsmith_away_leaves_everything(left: Path) -> None:
    """Recovery is bounded in time and deletes nothing that was not accepted."""
    before = {path.name for path in files_below(left)}
    report = recover(Settings(state_dir=left), timeout_s=0.5)
    assert (1, False) == (report.left, report.complete)
    assert before <= {path.name for path in files_below(left)}


def everything(server: LangSmithServer, tmp_path: Path, process: pytest.MonkeyPatch) -> Settings:
    """What seven processes of version 0.1.0 left for a server."""
    for name, value in langsmith_variables(server.url).items():
        process.setenv(name, value)
    process.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{server.url}/other")
    process.setenv("OTEL_REALTIME_RECORDINGS_DIR", str(tmp_path / "wavs"))
    state = golden.copy("0.1.0", tmp_path / "all", url=server.url, recordings=tmp_path / "wavs")
    return Settings(state_dir=state)


def test_a_root_that_is_never_answered_holds_up_nothing_else(
    process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The spool of its process, and all other conversations, are delivered within the time."""
    stuck = golden.expected("0.1.0")["conversations"]["closed"]["run"]
    with LangSmithServer() as server:
        settings = everything(server, tmp_path, process)
        server.judge = lambda r: Reply(503) if stuck.encode() in r.body else None
        report = recover(settings, timeout_s=4)
        assert (89, 0) == (report.spans, report.spans_left)
        assert [(stuck, "LangSmith is slow or away")] == [
            (row["id"], row["what"]) for row in report.conversations if not row["delivered"]
        ]
        assert 8 == len(report.conversations)
        server.judge = lambda _: None
        again = recover(settings, timeout_s=10)
        assert (True, [stuck]) == (again.complete, [row["id"] for row in again.conversations])
    assert [] == files_below(settings.state_dir)


def test_a_root_that_is_answered_late_is_delivered(
    process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It goes on in the background while the others have their turn, and is not left for next time."""
    late = golden.expected("0.1.0")["conversations"]["refused"]["run"]
    with LangSmithServer() as server:
        settings = everything(server, tmp_path, process)
        others = threading.Event()

        def judge(request: Request) -> Reply | None:
            if late.encode() in request.body:
                return Reply(202, hold=others)
            if 6 == sum(b'name="patch.' in post.body for post in server.posts()):
                others.set()
            return None

        server.judge = judge
        report = recover(settings, timeout_s=15)
    assert (True, 8, 89) == (report.complete, len(report.conversations), report.spans)
    assert late == report.conversations[-1]["id"]
    assert [] == files_below(settings.state_dir)


@pytest.mark.alone
def test_a_batch_that_is_never_taken_holds_up_nothing_else(
    process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is left, and said to be; all conversations and all other spans are delivered."""
    stuck = int(golden.expected("0.1.0")["conversations"]["refused"]["spooled"][0], 16)
    with LangSmithServer() as server:
        settings = everything(server, tmp_path, process)
        server.judge = lambda r: (
            Reply(503)
            if r.is_traces and stuck in [int.from_bytes(s.span_id, "big") for s in r.spans()]
            else None
        )
        report = recover(settings, timeout_s=4)
        assert (0, 77, 12) == (report.left, report.spans, report.spans_left)
        server.judge = lambda _: None
        assert (True, 12) == (recover(settings, timeout_s=10).complete, 12)
    assert [] == files_below(settings.state_dir)


def test_a_tool_that_was_open_has_its_event_above_it(
    left_with_tool: Path, sandbox: Sandbox
) -> None:
    """The event had ended and was written nowhere yet: it comes again, and nothing is an orphan."""
    move(left_with_tool, sandbox.url)
    assert recover(Settings(state_dir=left_with_tool), timeout_s=10).complete
    assert [] == sandbox.violations()
    [found] = [sandbox.conversation(one["id"]) for one in sandbox.conversations()]
    assert found is not None
    runs = {run["id"]: run["name"] for run in found["runs"]}
    tools = [run for run in found["runs"] if run["run_type"] == "tool"]
    assert ["response.done"] == [runs[run["parent_id"]] for run in tools]
    assert "the process died" in tools[0]["error"]


def test_an_event_that_is_sent_again_takes_nothing_along(
    left_with_tool: Path, process: pytest.MonkeyPatch
) -> None:
    """LangSmith says 409 to a request whose spans it has: what it does not have is in another one."""
    with LangSmithServer() as server:
        settings = at(server, left_with_tool, process)
        server.judge = lambda r: Reply(409) if r.is_traces and len(server.traces()) == 1 else None
        assert recover(settings, timeout_s=10).complete
        first, second = [[span.name for span in request.spans()] for request in server.traces()]
    assert ["response.done"] == first
    assert "execute_tool look" in second


def test_a_refused_key_leaves_everything(left: Path, process: pytest.MonkeyPatch) -> None:
    """The wrong key is named, and the right one delivers all of it later."""
    with LangSmithServer() as server:
        settings = at(server, left, process)
        server.judge = lambda _: Reply(401)
        report = recover(settings, timeout_s=10)
        assert "LANGSMITH_API_KEY" in report.conversations[0]["what"]
        server.judge = lambda _: None
        assert recover(settings, timeout_s=10).complete
    assert [] == files_below(left)


def test_a_call_in_a_journal_without_a_header_is_nothing(tmp_path: Path) -> None:
    """Before the first line stands, LangSmith has heard of nothing: the folder just goes."""
    folder = tmp_path / owner.CONVERSATIONS / f"{DEAD}-x"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_text('["open",0,{"trace_id":"0')
    assert recover(Settings(state_dir=tmp_path), timeout_s=1).complete
    assert not folder.exists()


def test_the_recording_goes_to_where_the_app_wanted_it(
    away: None,
    process: pytest.MonkeyPatch,
    traces: Traces,
    snapshot: Snapshot,
    tmp_path: Path,
) -> None:
    """``recordings_dir`` gets the WAV and its JSON, with or without LangSmith."""
    wanted = tmp_path / "wavs"
    process.setenv("OTEL_REALTIME_LANGSMITH", "off")
    call = one_turn(traces, settings=otel_realtime.Settings(recordings_dir=str(wanted)))
    snapshot(call)
    end(call)
    shutil.rmtree(wanted, ignore_errors=True)
    elsewhere = Settings(state_dir=tmp_path / "left", recordings_dir=str(tmp_path / "other"))
    assert not recover(elsewhere, timeout_s=10, provider=traces.provider).complete
    assert not wanted.exists()
    settings = Settings(state_dir=tmp_path / "left", recordings_dir=f"{wanted}/")
    assert recover(settings, timeout_s=10, provider=traces.provider).complete
    wav, about = sorted(wanted.iterdir(), reverse=True)
    assert (wav.stem, ".wav", ".json") == (about.stem, wav.suffix, about.suffix)
    told = json.loads(about.read_text())
    assert (call.thread_id, wav.name) == (told["thread_id"], told["recording"]["file"])
    assert call.thread_id in wav.name


def heard_ms(span: ReadableSpan) -> int:
    """How much of an answer was heard; nothing of one without sound."""
    return int(facts(span).get("otel_realtime.heard_ms", 0))


def test_a_recovered_recording_says_what_the_live_one_says(
    process: pytest.MonkeyPatch, traces: Traces, tmp_path: Path
) -> None:
    """Byte for byte: turns and interruptions are those of the journal, and of the call."""
    wanted, dead = tmp_path / "wavs", tmp_path / "left" / "conversations"
    process.setenv("OTEL_REALTIME_LANGSMITH", "off")

    def copied(path: Path, info: dict[str, Any]) -> None:
        shutil.copytree(path.parent, dead / f"{DEAD}{path.parent.name[len(DEAD) :]}")

    settings = otel_realtime.Settings(recordings_dir=str(wanted), on_recording=copied)
    call = one_turn(traces, settings=settings)
    with call.pause_recording():
        call.received({"type": "rate_limits.updated", "rate_limits": []})
    call.redact_audio(100, 200, side="user")
    end(call)
    (live,) = wanted.glob("*.wav")
    said, sounding = wavinfo.WavInfoReader(str(live)), live.read_bytes()
    labels = [cue["label"] for cue in said.cues.to_dict().values()]
    expected = ["turn 1: user", "redacted: user", "turn 2: agent", "recording paused"]
    (answer,) = [span for span in traces.named("chat gpt-realtime") if heard_ms(span)]
    if facts(answer)["otel_realtime.interrupted"]:  # it hung up, unless the machine was slower
        expected.append("cut by the client")
    assert expected == labels
    assert (call.trace_id, call.thread_id) == (said.bext.originator_ref, said.info.subject)
    shutil.rmtree(wanted)
    settings = Settings(state_dir=tmp_path / "left", recordings_dir=str(wanted))
    assert recover(settings, timeout_s=10, provider=traces.provider).complete
    assert [sounding] == [path.read_bytes() for path in wanted.glob("*.wav")]


def test_spans_that_are_refused_for_good_are_not_delivered(
    process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are gone, and the report says how many; those of other requests are counted as sent."""
    with LangSmithServer() as server:
        rig = make_rig()
        for project, names in (("voice", "a"), ("other", "bcd")):
            exporter = DirectExporter(
                LangSmithConfig(api_url=NOWHERE, api_key="k", project=project),
                spool=Spool(tmp_path, NOWHERE, project),
                backoff=QUICK,
            )
            rig.outlet = exporter
            root = rig.root()
            for name in names:
                rig.child(rig.ours, name, root).end()
            assert not exporter.shutdown(0.2)
        (tmp_path / SPOOL / owner.instance_id()).rename(tmp_path / SPOOL / DEAD)
        server.judge = lambda request: Reply(422) if len(request.spans()) == 3 else None
        report = recover(at(server, tmp_path, process), timeout_s=10)
    assert (1, 0, 3) == (report.spans, report.spans_left, report.spans_lost)
    assert not (tmp_path / SPOOL / DEAD).exists()


def test_spans_in_the_spool_are_sent(process: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Batches of a dead process go to their project; torn and foreign files cost no other."""
    with LangSmithServer() as server:
        config = LangSmithConfig(api_url=NOWHERE, api_key="k", project="voice")
        rig = make_rig()
        exporter = DirectExporter(
            config, spool=Spool(tmp_path, config.api_url, config.project), backoff=QUICK
        )
        rig.outlet = exporter
        rig.child(rig.ours, "a", rig.root()).end()
        assert not exporter.shutdown(0.2)
        (tmp_path / SPOOL / owner.instance_id()).rename(tmp_path / SPOOL / DEAD)
        (tmp_path / SPOOL / DEAD / "0.part").write_bytes(b"torn")
        (tmp_path / SPOOL / DEAD / "1.spans").write_bytes(b"foreign")
        (tmp_path / SPOOL / DEAD / "2.spans").write_bytes(b'{"api_url":"x"}\nforeign')
        report = recover(at(server, tmp_path, process), timeout_s=10)
        assert (False, 1) == (report.complete, report.spans)
        assert ["spool", "spool"] == [row["path"].split("/")[0] for row in report.unreadable]
        [request] = server.traces()
        assert ("voice", ["a"]) == (
            request.headers["langsmith-project"],
            [span.name for span in request.spans()],
        )
    assert ["1.spans", "2.spans"] == sorted(path.name for path in files_below(tmp_path / SPOOL))


def test_nothing_to_do(
    tmp_path: Path, process: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says so and is content; the default directory need not be there."""
    assert 0 == cli.main(["recover", "--state-dir", str(tmp_path)])
    assert f"nothing to recover in {tmp_path}\n" == capsys.readouterr().out
    process.delenv("OTEL_REALTIME_STATE_DIR")
    process.setenv("XDG_STATE_HOME", str(tmp_path / "none"))
    assert 0 == cli.main(["recover"])
    assert f"nothing to recover in {tmp_path / 'none/otel-realtime'}\n" == capsys.readouterr().out


def test_progress_is_told(
    left: Path, process: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each conversation, and a sum; with ``--json`` the report alone on stdout."""
    with LangSmithServer() as server:
        at(server, left, process)
        server.judge = lambda _: Reply(401)
        assert 1 == cli.main(["recover", "--state-dir", str(left), "--json"])
        told = capsys.readouterr()
        report: dict[str, Any] = json.loads(told.out)
        assert (1, 0) == (report["left"], report["delivered"])
        assert "left" in told.err
        server.judge = lambda _: None
        assert 0 == cli.main(["recover", "--state-dir", str(left)])
    *_, line, last = capsys.readouterr().out.splitlines()
    assert "recording: attached" in line
    assert "1 conversations and 0 spans delivered, 0 and 0 left" == last


def test_the_next_start_recovers_in_the_background(
    left: Path, process: pytest.MonkeyPatch, sandbox: Sandbox, traces: Traces
) -> None:
    """The first conversation of a process sets it off; the app notices nothing."""
    move(left, sandbox.url)
    process.setenv("OTEL_REALTIME_STATE_DIR", str(left))
    process.setenv("OTEL_REALTIME_RECOVER_ON_START", "true")
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        call.received({"type": "session.created", "session": {}})
        wait_for(lambda: len(sandbox.conversations()) == 2, "recovered conversation")
        wait_for(
            lambda: {"pending", "error"} == {one["status"] for one in sandbox.conversations()},
            "the dead one's end",
        )


def test_a_call_made_with_the_wrong_key_is_whole_in_the_end(
    away: None,
    process: pytest.MonkeyPatch,
    traces: Traces,
    snapshot: Snapshot,
    tmp_path: Path,
) -> None:
    """Its root went by OTLP and was refused there too: later it comes by the runs API, once."""
    state = tmp_path / "left"
    with LangSmithServer() as server:
        for name, value in langsmith_variables(server.url).items():
            process.setenv(name, value)
        server.judge = lambda _: Reply(401)
        call = one_turn(traces)
        wait_for(lambda: call._engine.trace.refused, "refusal")
        end(call)
        assert not otel_realtime.flush(5)
        snapshot(call)
        mine = Settings().state_dir / SPOOL / owner.instance_id()
        shutil.copytree(mine, state / SPOOL / DEAD)
        sent = len(server.requests)
        # While LangSmith takes spans but not the run, the root stays out of the spans.
        server.judge = lambda r: None if r.is_traces else Reply(401)
        assert not recover(Settings(state_dir=state), timeout_s=10).complete
        server.judge = lambda _: None
        assert recover(Settings(state_dir=state), timeout_s=10).complete
        late = server.requests[sent:]
        names = {span.name for r in late if r.is_traces for span in r.spans()}
        assert "response.done" in names
        assert "realtime_session" not in names
        ends = [r for r in late if b'name="patch.' in r.body[:300]]
        assert [True] == [b'name="attachment.' in r.body for r in ends]
    assert [] == files_below(state)


def test_a_journal_that_cannot_be_used_is_kept(
    left: Path, process: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    """A header that another version wrote is no reason to delete a recording."""
    (journal,) = left.glob("conversations/*/journal.jsonl")
    journal.write_bytes(journal.read_bytes().replace(b'"root_span_id"', b'"root"', 1))
    report = recover(Settings(state_dir=left), timeout_s=5)
    assert (1, True) == (report.left, journal.exists())
