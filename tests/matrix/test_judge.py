"""What counts as seen: judged by what the server says went over its sockets."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from tests.matrix.judge import judge

SENT = ["session.created", "response.created", "response.output_audio.delta", "response.done"]
SOCKETS: list[Any] = [{"sent": [*SENT, "rate_limits.updated"], "received": ["response.create"]}]


def span(name: str, id_: int, parent: int | None, **attributes: Any) -> dict[str, Any]:
    """A span as ``scenario`` reports it."""
    return {"name": name, "id": id_, "parent": parent, "status": "UNSET", "attributes": attributes}


def report() -> dict[str, Any]:
    """A report without a fault."""
    return {
        "spans": [
            span("realtime_session", 1, None, **{"langsmith.metadata.close_code": 1000}),
            span("session.created", 2, 1),
            span("response.created", 3, 1),
            span("chat gpt-realtime", 4, 1),
            span("response.done", 5, 1),
            span("execute_tool look_up", 6, 5, **{"otel_realtime.tool.timing": "exact"}),
            span("request", 7, 6),
        ],
        "received": dict.fromkeys(SENT, 1),
        "sent": {"response.create": 1},
        "asked": ["a thread"],
        "recorded": [[2, True]],
        "faults": [],
        "warned": [],
    }


def test_all_is_well() -> None:
    """Though nobody read what came after the last answer."""
    found = judge(report(), SOCKETS)
    assert ((), "exact", True, True, True, 5, "1000") == (
        found.faults,
        found.tool,
        found.below,
        found.knew,
        found.recorded,
        found.frames,
        found.closed,
    )


def _twice(told: Any) -> None:
    told["received"]["response.done"] = 2


def _missed(told: Any) -> None:
    del told["received"]["response.output_audio.delta"]


def _unsent(told: Any) -> None:
    told["sent"] = {}


def _two_roots(told: Any) -> None:
    told["spans"] += [span("realtime_session", 8, None), span("session.updated", 9, 8)]


def _empty_root(told: Any) -> None:
    told["spans"] = told["spans"][:1]


def _no_chat(told: Any) -> None:
    del told["spans"][3]


def _event_twice(told: Any) -> None:
    told["spans"].append(span("response.done", 8, 1))


def _two_tools(told: Any) -> None:
    told["spans"].append(deepcopy(told["spans"][5]))


def _failed(told: Any) -> None:
    told["spans"][0]["status"] = "ERROR"


def _closed(told: Any) -> None:
    told["spans"][0]["attributes"]["langsmith.metadata.close_code"] = 1006


def _warned(told: Any) -> None:
    told["warned"] = ["cannot tap this"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_twice, "too often"),
        (_missed, "too few"),
        (_unsent, "frames sent"),
        (_two_roots, "roots: 2"),
        (_empty_root, "nothing below"),
        (_no_chat, "chat spans"),
        (_event_twice, "spans of response.done"),
        (_two_tools, "tool spans: 2"),
        (_failed, "failed"),
        (_closed, "close code"),
        (_warned, "cannot tap this"),
    ],
)
def test_what_is_wrong(change: Any, said: str) -> None:
    """Is said."""
    told = report()
    change(told)
    assert any(said in fault for fault in judge(told, SOCKETS).faults)


def test_the_apps_span_beside_the_tool() -> None:
    """Is not below it."""
    told = report()
    told["spans"][6]["parent"] = 1
    assert judge(told, SOCKETS).below is False
