"""The caller's wait in parts: they follow each other, have owners, and add up."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol.breakdown import OWNERS, break_down
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.responses import McpApproval, McpCall, Moment, Response, ToolCall
from tests.support.streams import MS, bounded


def moment(ms: float | None) -> Moment | None:
    """A moment so long after the start."""
    return None if ms is None else Moment(round(ms * MS), round(ms * MS))


def response(name: str, created_ms: float, **keys: Any) -> Response:
    """A response that began then."""
    begun = moment(created_ms)
    assert begun is not None
    return Response(name, created=begun, **keys)


def call(response_id: str, announced_ms: float, answered_ms: float | None) -> ToolCall:
    """A function call of a response."""
    return ToolCall(
        f"{response_id}-{announced_ms}",
        response_id=response_id,
        announced=moment(announced_ms),
        answered=moment(answered_ms),
    )


def parts(
    question: Item, responses: list[Response], *calls: ToolCall, first_ms: float, audible_ms: float
) -> dict[str, tuple[int, str]]:
    """Length and owner of each part of a wait that began at 1000 ms."""
    found = break_down(
        question,
        responses,
        list(calls),
        start_t=1000 * MS,
        first_chunk_t=round(first_ms * MS),
        audible_t=round(audible_ms * MS),
    )
    return {part.name: (part.ms, part.owner) for part in found}


VAD = Item("u", audio_end_ms=1200, stopped_t=1240 * MS, committed_t=1250 * MS)
PUSHED = Item("u", stopped_t=1250 * MS, committed_t=1250 * MS)


def test_an_answer_that_the_vad_asked_for() -> None:
    """Silence of the VAD, the service, the model, the player."""
    assert {
        "end_of_speech": (250, "setting"),
        "response": (20, "service"),
        "model": (430, "service"),
        "playback": (60, "app"),
    } == parts(VAD, [response("r", 1270)], first_ms=1700, audible_ms=1760)


def test_an_answer_that_the_app_asked_for() -> None:
    """Push to talk: the app decides when the user has finished, and when to ask."""
    asked = response("r", 1370, asked=moment(1350))
    assert {
        "end_of_speech": (250, "app"),
        "request": (100, "app"),
        "response": (20, "service"),
        "model": (130, "service"),
        "playback": (0, "app"),
    } == parts(PUSHED, [asked], first_ms=1500, audible_ms=1500)


def test_the_way_of_a_commit_to_the_server_is_the_services() -> None:
    """The app has done its part when it sends the commit, and the request right behind it."""
    pushed = Item("u", stopped_t=1250 * MS, commit_sent_t=1100 * MS, committed_t=1250 * MS)
    assert {
        "end_of_speech": (100, "app"),
        "request": (1, "app"),
        "response": (159, "service"),
        "model": (240, "service"),
        "playback": (0, "app"),
    } == parts(
        pushed,
        [response("r", 1260, asked=moment(1101))],
        first_ms=1500,
        audible_ms=1500,
    )


def test_an_approval_in_between() -> None:
    """Until the app allows the MCP call it is the app's wait, not the service's."""
    request = McpApproval(Item("mcpr"), asked=moment(1600), answered=moment(2400))
    found = break_down(
        VAD,
        [
            response("a", 1270, done=moment(1610)),
            response("b", 2420, done=moment(2900)),
            response("c", 2930),
        ],
        [],
        {"a": [request]},
        start_t=1000 * MS,
        first_chunk_t=3230 * MS,
        audible_t=3230 * MS,
    )
    assert {
        "end_of_speech": 250,
        "response": 20 + 20 + 30,
        "model": 330 + 480 + 300,
        "approval": 800,
        "playback": 0,
    } == {part.name: part.ms for part in found}


def test_tools_in_between() -> None:
    """Two at once last from the first call to the last result; the model thinks twice."""
    responses = [response("r1", 1300, done=moment(1600)), response("r2", 2700, asked=moment(2650))]
    calls = (call("r1", 1500, 2600), call("r1", 1550, 2100))
    assert {
        "end_of_speech": (250, "setting"),
        "response": (100, "service"),
        "model": (500, "service"),
        "tools": (1100, "tool"),
        "request": (50, "app"),
        "playback": (0, "app"),
    } == parts(VAD, responses, *calls, first_ms=3000, audible_ms=3000)


def test_tools_of_the_server() -> None:
    """An MCP call before the first audio is no time of the model's."""
    mcp = {"m": McpCall("m", Moment(1400 * MS, 0), Moment(1900 * MS, 0))}
    found = parts(VAD, [response("r", 1270, mcp=mcp)], first_ms=2000, audible_ms=2000)
    assert (500, 230) == (found["tools"][0], found["model"][0])


def test_a_response_that_brought_nothing() -> None:
    """It was cancelled before it said or called anything; the next one answers."""
    responses = [response("r1", 1300, done=moment(1400)), response("r2", 1450)]
    found = parts(VAD, responses, first_ms=1800, audible_ms=1800)
    assert (100, 450) == (found["response"][0], found["model"][0])


times = st.floats(900, 3000)


@bounded
@given(
    st.lists(st.tuples(times, times, times, times, times), min_size=1, max_size=4),
    st.tuples(times, times, times),
    st.booleans(),
)
def test_the_parts_add_up(rounds: list[Any], ends: tuple[float, float, float], vad: bool) -> None:
    """In whole ms, in whatever order the events came; none is negative, each has its owner."""
    responses, calls = [], []
    for index, (asked, created, announced, answered, done) in enumerate(rounds):
        name = f"r{index}"
        responses.append(response(name, created, asked=moment(asked), done=moment(done)))
        calls.append(call(name, announced, answered))
    committed, first, audible = ends
    question = Item(
        "u", audio_end_ms=1 if vad else None, stopped_t=0, committed_t=round(committed * MS)
    )
    found = parts(question, responses, *calls, first_ms=first, audible_ms=audible)
    assert max(round(audible * MS) - 1000 * MS, 0) // MS == sum(ms for ms, _ in found.values())
    assert all(ms >= 0 for ms, _ in found.values())
    assert found.keys() <= OWNERS.keys()
