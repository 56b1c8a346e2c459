"""Two LangSmith targets and two state directories in one process: neither knows of the other."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import otel_realtime
from otel_realtime import Settings
from otel_realtime.process.process import PROCESS
from otel_realtime.recovery.sweep import recover
from otel_realtime.state import owner
from tests.faults.test_destinations import RECORDED, Talk, ended, of_posts
from tests.support.fault_server import HELLO
from tests.support.hostile_http import HostileServer, accept, hostile, refuse, silent
from tests.support.isolation import langsmith_variables
from tests.support.traces import Traces
from tests.support.waiting import wait_for

#: An instance id of a process that is dead.
DEAD = "0" * 32


@pytest.fixture
def talk(traces: Traces, process: pytest.MonkeyPatch) -> Talk:
    return Talk(traces, process)


def names(server: HostileServer) -> set[str]:
    """Whose key came with the requests."""
    heads = [exchange.head.lower() for exchange in list(server.exchanges)]
    return {head.split(b"x-api-key: ")[1].split(b"\r\n")[0].decode() for head in heads}


def files(state: Path) -> list[str]:
    """What is in a state directory, apart from locks."""
    return sorted(
        str(p.relative_to(state)) for p in state.rglob("*") if p.suffix not in ("", ".lock")
    )


def test_calls_go_where_they_were_opened_for(talk: Talk, tmp_path: Path) -> None:
    """Post, spans, end and recording, also if the variables change while a call goes on."""
    with hostile(lambda _: accept) as first, hostile(lambda _: accept) as second:
        blocks = []
        for name, server in (("a", first), ("b", second)):
            for variable, value in langsmith_variables(server.url).items():
                talk.patch.setenv(variable, value)
            talk.patch.setenv("LANGSMITH_API_KEY", f"key-{name}")
            blocks.append(
                otel_realtime.conversation(
                    tracer_provider=talk.traces.provider,
                    settings=Settings(state_dir=tmp_path / name),
                )
            )
            call = blocks[-1].__enter__()
            call.received(HELLO)
            call.record_user_audio(RECORDED, rate=24_000)
        runs = [block._conversation.langsmith_run_id for block in blocks]  # type: ignore[union-attr]
        for block in blocks:
            block.__exit__(None, None, None)
        assert otel_realtime.flush(20)
        for server, name, mine, other in ((first, "a", *runs), (second, "b", *reversed(runs))):
            assert {f"key-{name}"} == names(server)
            assert ended(server, mine)()
            assert server.count(lambda exchange: exchange.is_spans)
            assert not any(other.encode() in bytes(e.body) for e in server.exchanges)
        assert [[], []] == [files(tmp_path / name) for name in ("a", "b")]


@pytest.mark.parametrize("behaviour", [silent, refuse(503, Retry_After="120")])
def test_one_that_is_away_takes_nothing_from_the_other(
    talk: Talk, tmp_path: Path, behaviour: object
) -> None:
    """Neither its deliveries, nor its retries, nor the time of a flush."""
    with (
        hostile(lambda _: behaviour) as away,  # type: ignore[arg-type, return-value]
        hostile(lambda _: refuse(503)) as back,
    ):
        talk.call(away, state_dir=tmp_path / "away")
        run = talk.call(back, state_dir=tmp_path / "back")
        wait_for(lambda: away.count(of_posts) and back.count(of_posts), "first attempts")
        time.sleep(0.6)
        back.choose = lambda _: accept
        started = time.monotonic()
        assert not otel_realtime.flush(6)
        assert ended(back, run)()
        assert time.monotonic() - started < 8
        wait_for(lambda: not files(tmp_path / "back"), "end of its files")
        assert files(tmp_path / "away")
        assert 1 == away.count(of_posts)
        away.choose = lambda _: accept
        PROCESS.shutdown(0.1)


def test_each_state_directory_is_recovered_by_itself(talk: Talk, tmp_path: Path) -> None:
    """What a dead process left goes to its own LangSmith; the other directory is not touched."""
    with hostile(lambda _: refuse(503)) as first, hostile(lambda _: refuse(503)) as second:
        runs = [
            talk.call(server, state_dir=tmp_path / name)
            for name, server in (("a", first), ("b", second))
        ]
        assert not otel_realtime.flush(1)
        PROCESS.shutdown(0.1)
        for name in ("a", "b"):
            state = tmp_path / name
            for folder in (state / owner.CONVERSATIONS).iterdir():
                folder.rename(folder.with_name(folder.name.replace(owner.instance_id(), DEAD)))
            for folder in (state / owner.SPOOL).iterdir():
                folder.rename(folder.with_name(DEAD))
        first.choose = second.choose = lambda _: accept
        left = files(tmp_path / "b")
        assert left
        talk.aim(first)
        assert recover(Settings(state_dir=tmp_path / "a"), timeout_s=20).complete
        assert ended(first, runs[0])()
        assert ([], left) == (files(tmp_path / "a"), files(tmp_path / "b"))
        report = recover(Settings(state_dir=tmp_path / "b"), timeout_s=20)
        assert not report.complete
        assert set(left) <= set(files(tmp_path / "b"))
        talk.aim(second)
        assert recover(Settings(state_dir=tmp_path / "b"), timeout_s=20).complete
        assert ended(second, runs[1])()
        assert not any(runs[1].encode() in bytes(e.body) for e in first.exchanges)
