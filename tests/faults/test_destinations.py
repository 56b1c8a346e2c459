"""Destinations that refuse, stall or drip: what they cost, and that nobody else waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

import otel_realtime
from otel_realtime import Settings
from otel_realtime.langsmith import delivery, http
from otel_realtime.process.process import PROCESS
from tests.support.fault_server import HELLO
from tests.support.hostile_http import (
    Behaviour,
    Exchange,
    HostileServer,
    accept,
    continue_forever,
    drip_body,
    drip_chunks,
    drip_head,
    drip_headers_forever,
    hostile,
    refuse,
    silent,
    sip,
)
from tests.support.isolation import langsmith_variables
from tests.support.traces import Traces
from tests.support.waiting import wait_for

#: Seconds for which a destination is watched.
WATCHED_S = 3.0
RECORDED = b"\1\2" * 24_000
RETRY_AFTER = [
    "0",
    "-5",
    "nan",
    "0.0000001",
    "soon",
    "Thu, 01 Jan 1970 00:00:01 GMT",
    "Thu, 31 Dec 1969 23:59:59 -0000",
]
STATUSES = [429, 503, 408, 500, 425, 502, 504]


def of_posts(exchange: Exchange) -> bool:
    """The beginning of a root run."""
    return b'name="post.' in exchange.body


def of_recordings(exchange: Exchange) -> bool:
    """The end of a root run."""
    return exchange.is_patch


def of_spans(exchange: Exchange) -> bool:
    """Spans by OTLP."""
    return exchange.is_spans


LEGS = [of_posts, of_recordings, of_spans]


def only(leg: Callable[[Exchange], bool], behaviour: Behaviour) -> Callable[[Exchange], Behaviour]:
    """Behave badly towards one leg."""
    return lambda exchange: behaviour if leg(exchange) else accept


@dataclass
class Talk:
    """Holds calls, each with the LangSmith it is told."""

    traces: Traces
    patch: pytest.MonkeyPatch

    def aim(self, server: HostileServer) -> None:
        """Deliver the calls that open from now on to this server."""
        for name, value in langsmith_variables(server.url).items():
            self.patch.setenv(name, value)

    def call(self, server: HostileServer | None = None, **settings: object) -> str:
        """Hold a call of a second; return its run's id."""
        if server is not None:
            self.aim(server)
        with otel_realtime.conversation(
            tracer_provider=self.traces.provider,
            settings=Settings(**settings),  # type: ignore[arg-type]
        ) as call:
            call.received(HELLO)
            call.record_user_audio(RECORDED, rate=24_000)
        return call.langsmith_run_id


@pytest.fixture
def talk(traces: Traces, process: pytest.MonkeyPatch) -> Talk:
    return Talk(traces, process)


def ended(server: HostileServer, run: str) -> Callable[[], bool]:
    """Whether the end of a run has arrived, with its recording."""
    wanted = f'name="attachment.{run}.conversation"'.encode()
    return lambda: any(wanted in e.body for e in list(server.exchanges) if e.received == e.length)


def test_no_answer_switches_the_backoff_off(talk: Talk) -> None:
    """Every leg, every status, whatever ``Retry-After`` says, and an app that flushes all the time."""
    with ExitStack() as stack:
        watched = []
        for number, value in enumerate(RETRY_AFTER):
            for leg in LEGS:
                status = STATUSES[(number + LEGS.index(leg)) % len(STATUSES)]
                choose = only(leg, refuse(status, Retry_After=value))
                server = stack.enter_context(hostile(choose))
                talk.call(server)
                watched.append((server, leg, value, time.monotonic()))
        until = time.monotonic() + WATCHED_S
        while time.monotonic() < until:
            assert not otel_realtime.flush(0.02)
        for server, leg, value, called_at in watched:
            requests = server.count(leg)
            # With at least half a second between two attempts, and some more for a machine that is busy.
            most = 2 + int((time.monotonic() - called_at) / 0.5)
            assert 1 <= requests <= most, (leg.__name__, value, requests)
            assert server.received < (most + 2) * (2 * len(RECORDED) + 10_000)
            server.choose = lambda _: accept
        assert otel_realtime.flush(20)


def test_a_long_wish_is_kept_although_the_app_flushes(talk: Talk) -> None:
    """A server that asks for a minute is left alone for a minute."""
    for leg in LEGS:
        with hostile(only(leg, refuse(429, Retry_After="60"))) as server:
            talk.call(server)
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                assert not otel_realtime.flush(0.02)
            assert 1 == server.count(leg)
            PROCESS.shutdown(0.1)


def test_an_outage_of_many_calls_is_bounded_as_a_whole(talk: Talk) -> None:
    """Sixty calls that ended in an outage repeat together what one destination is allowed."""
    calls = 60
    with hostile(lambda _: refuse(503, Retry_After="0")) as server:
        for _ in range(calls):
            talk.call(server)
        until = time.monotonic() + WATCHED_S
        while time.monotonic() < until:
            assert not otel_realtime.flush(0.02)
        # Each has its first attempt; what is repeated is a burst, and one per second.
        assert calls <= server.count(of_posts) <= calls + 30 + WATCHED_S + 8
        server.choose = lambda _: accept
        assert otel_realtime.flush(30)
        assert calls == server.count(lambda exchange: exchange.has_recording)


SLOW = [
    silent,
    drip_head,
    drip_headers_forever,
    drip_body,
    drip_chunks,
    continue_forever,
    sip,
]


@pytest.fixture
def _short_requests(process: pytest.MonkeyPatch) -> None:
    """A request is given up after 5 s instead of half a minute."""
    process.setattr(http.Http.__init__, "__defaults__", (5.0,))


@pytest.mark.usefixtures("_short_requests")
def test_a_stalled_request_holds_up_no_other_call(talk: Talk) -> None:
    """Neither at another LangSmith nor at the same; the request itself ends, and is sent again."""
    stalled: list[bytes] = []

    def choosing(behaviour: Behaviour) -> Callable[[Exchange], Behaviour]:
        def choose(exchange: Exchange) -> Behaviour:
            mine = any(run in exchange.body for run in list(stalled))
            return behaviour if mine and not exchange.is_spans else accept

        return choose

    with ExitStack() as stack:
        servers = [stack.enter_context(hostile(choosing(behaviour))) for behaviour in SLOW]
        for server in servers:
            talk.aim(server)
            with otel_realtime.conversation(tracer_provider=talk.traces.provider) as call:
                stalled.append(call.langsmith_run_id.encode())
                call.received(HELLO)
        for server in servers:
            wait_for(lambda: server.count(of_posts) > 0, "the request that stalls")  # noqa: B023
        started = time.monotonic()
        runs = [(server, talk.call(server)) for server in servers]
        for server, run in runs:
            wait_for(ended(server, run), f"the other calls at {server.url}")
        assert time.monotonic() - started < 4
        for server, run in zip(servers, stalled, strict=True):
            wait_for(
                lambda: server.count(lambda exchange: run in exchange.body) > 1,  # noqa: B023
                f"the next attempt at {server.url}",
            )
        stalled.clear()
        assert otel_realtime.flush(20)


@pytest.mark.usefixtures("_short_requests")
def test_uploads_that_stall_hold_up_no_end_of_another_call(
    talk: Talk, process: pytest.MonkeyPatch
) -> None:
    """Three recordings whose uploads are not answered, and one that is."""
    process.setattr(delivery, "UPLOAD_PATIENCE_S", 1.0)
    stalled: set[str] = set()

    def choose(exchange: Exchange) -> Behaviour:
        mine = any(run.encode() in exchange.body for run in list(stalled))
        return silent if mine and exchange.is_patch else accept

    with hostile(choose) as server:
        talk.aim(server)
        for _ in range(3):
            with otel_realtime.conversation(tracer_provider=talk.traces.provider) as call:
                stalled.add(call.langsmith_run_id)
                call.received(HELLO)
                call.record_user_audio(RECORDED, rate=24_000)
        wait_for(lambda: server.count(of_recordings) >= 2, "the uploads that stall")
        started = time.monotonic()
        run = talk.call()
        wait_for(ended(server, run), "the other call", timeout_s=20)
        assert time.monotonic() - started < 4
        stalled.clear()
        assert otel_realtime.flush(20)
