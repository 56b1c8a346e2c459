"""The transcript reads like the call."""

from __future__ import annotations

from dataclasses import replace

from otel_realtime.calls.from_spans import call_of
from otel_realtime.calls.transcript import transcript
from tests.calls.build import chat, root, said, tool, turn


def test_it_reads_like_the_call() -> None:
    """Turns with their times, tools where they ran, and what nobody heard."""
    rows = [
        replace(
            root(
                [
                    turn("user", 1, 50, 2_300, "Weather\nin \x1b[31mParis?"),
                    turn("assistant", 2, 62_900, 64_000, "It is sunny in Paris.",
                         heard_text="It is sunny", interrupted=True),
                ],
                voice="marin",
            ),
            failed=True, message="gone",
        ),
        chat(2_400, 2_500, "r1"),
        said(3_000, "r1", "a1", "It is sunny in Paris."),
        tool(2_400, 2_599, "c1", "c" + "2400".zfill(15)),
    ]  # fmt: skip
    call = call_of(rows)
    assert call is not None
    assert (
        "realtime_session, thread-1\n"
        "2026-11-27T08:00:00.123Z, 9.0 s, gpt-realtime, marin\n"
        "Ended by an error: gone\n"
        "\n"
        "[00:00.0 - 00:02.3] User: Weather in [31mParis?\n"
        '    look_up({"city": "Paris"}) in 199 ms: sunny\n'
        "[01:02.9 - 01:04.0] Agent (interrupted): It is sunny\n"
        "                    not heard: in Paris.\n"
    ) == transcript(call)


def test_a_call_of_which_nothing_is_known_has_a_head() -> None:
    """Tools without a turn stand at its end."""
    call = call_of([root(None, end_ms=None), tool(5, 6, "c", "x")])
    assert call is not None
    assert [
        "realtime_session, thread-1",
        "2026-11-27T08:00:00.123Z, still going on, gpt-realtime",
        "",
        '    look_up({"city": "Paris"}) in 1 ms: sunny',
    ] == transcript(call).splitlines()
