"""Rows are when the log says they were, else when a model has them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from otel_realtime.replaying.log import BadRow, Row
from otel_realtime.replaying.pace import CHUNK_MS, EVENT_MS, RESPONSE_MS, survey
from tests.replaying.build import SESSION, append, delta, turn


def rows(*events: tuple[str, dict[str, Any]], times: list[float | None] | None = None) -> list[Row]:
    """Rows of a log."""
    known = times or [None] * len(events)
    return [
        Row(n, direction == "sent", event["type"], event, known[n])
        for n, (direction, event) in enumerate(events)
    ]


def kinds(found: list[Row], times: Any, kind: str) -> list[float]:
    """When the events of a type were."""
    return [round(t) for row, t in zip(found, times, strict=True) if row.kind == kind]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0, 5, 90], [0, 5, 90]),
        ([1_000, 1_005, 1_090], [0, 5, 90]),
        ([0, None, 90], [0, 0, 90]),
        ([None, 50, 90], [0, 0, 40]),
        ([0, 90, 50], [0, 90, 90]),
    ],
)
def test_the_times_of_a_log_count(given: list[float | None], expected: list[float]) -> None:
    """From its first on; what is missing, or goes back, is as late as the row before."""
    found = survey(rows(*[("recv", SESSION)] * 3, times=given))
    assert (True, expected, expected[-1]) == (found.timed, list(found.times_ms), found.duration_ms)


def test_without_times_audio_takes_as_long_as_it_is() -> None:
    """Both sides, one after the other: nobody speaks over the other."""
    found = rows(("recv", SESSION), *turn(1), *turn(2))
    times = survey(found).times_ms
    assert sorted(times) == list(times)
    first, *_, second = (kinds(found, times, "input_audio_buffer.append")[at] for at in (0, 9, 10))
    assert 100 == first
    deltas = kinds(found, times, "response.output_audio.delta")
    assert [200] * 4 == [later - before for before, later in itertools.pairwise(deltas[:5])]
    assert second >= deltas[4] + 200 + 100
    created = kinds(found, times, "response.created")[0]
    asked = kinds(found, times, "response.create")[0]
    assert RESPONSE_MS == created - asked
    assert EVENT_MS == kinds(found, times, "response.output_item.added")[0] - created


def test_a_microphone_that_goes_on_while_the_agent_answers_adds_no_time() -> None:
    """Its appends lie between the chunks of the answer."""
    created = ("recv", {"type": "response.created"})
    pairs = [pair for _ in range(10) for pair in (("sent", append(100)), ("recv", delta(1, 100)))]
    found = rows(("recv", SESSION), ("sent", append(100)), created, *pairs)
    assert 100 + RESPONSE_MS + 1_000 >= survey(found).duration_ms


def test_g711_is_8_khz() -> None:
    """The session says so, in either of its ways."""
    for session in (
        {"audio": {"input": {"format": {"type": "audio/pcmu"}}}},
        {"input_audio_format": "g711_ulaw"},
    ):
        told = {"type": "session.updated", "session": session}
        found = rows(("recv", told), ("sent", append(100)))  # 4800 bytes
        assert 600 == survey(found).duration_ms


def test_audio_that_was_cut_out_takes_what_the_file_beside_says() -> None:
    """Else a usual length."""
    cut = ("sent", {"type": "input_audio_buffer.append", "audio": "A" * 44})
    found = rows(("recv", SESSION), *[cut] * 4)
    without, with_file = survey(found), survey(found, user_ms=1_000)
    assert {"user"} == without.cut
    assert (4 * CHUNK_MS, 1_000) == (without.duration_ms, with_file.duration_ms)
    whole = survey(rows(("recv", SESSION), ("sent", append(100))), user_ms=9_000)
    assert (frozenset(), 100) == (whole.cut, whole.duration_ms)
    one_side = survey(rows(("recv", SESSION), *[cut] * 4, ("recv", delta(1, 200)), cut))
    assert ({"user"}, 5 * CHUNK_MS + 200) == (one_side.cut, one_side.duration_ms)


def test_a_log_is_counted() -> None:
    """By direction; its bad lines are kept."""
    bad = BadRow(3, "no")
    found = survey([*rows(("recv", SESSION), ("sent", append(20))), bad])
    assert (1, 1, 2, 1, 0, [bad]) == (
        found.received,
        found.sent,
        found.events,
        found.user_chunks,
        found.agent_chunks,
        found.bad,
    )
    assert (0, 0.0) == (survey([bad]).events, survey([bad]).duration_ms)


def test_odd_events_have_times_too() -> None:
    """Whatever their members hold."""
    odd: list[Any] = [None, 7, "é", [], {"x": 1}]
    events = [
        ("sent", {"type": kind, key: value})
        for kind, key in (
            ("input_audio_buffer.append", "audio"),
            ("response.output_audio.delta", "delta"),
            ("session.updated", "session"),
        )
        for value in odd
    ]
    events += [("recv", {"type": "session.updated", "session": {"audio": value}}) for value in odd]
    assert len(events) == len(survey(rows(*events)).times_ms)
