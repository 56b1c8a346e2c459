"""Judges what was traced of a client's call by what its server says went over the sockets."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

ROOT: Final = "realtime_session"
CLOSE_CODE: Final = "langsmith.metadata.close_code"
Json = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What was seen of one client.

    Attributes:
        faults: what is wrong, in sentences.
        tool: how the tool's times are known: ``exact``, ``observed``, ``wire``.
        below: the app's span in the tool is below the tool's.
        knew: the tool knew its conversation.
        recorded: the stereo recording holds sound.
        frames: number of frames, in both directions.
        closed: code that the server closed with, as the root says.
    """

    faults: tuple[str, ...]
    tool: str = ""
    below: bool = False
    knew: bool = False
    recorded: bool = False
    frames: int = 0
    closed: str = ""


def judge(report: Json, sockets: list[Json]) -> Verdict:
    """Compare a report of ``scenario`` with what ``server`` says.

    Args:
        report: what the client's process printed.
        sockets: what the server's process printed: each connection's frames.
    """
    spans: list[Json] = report["spans"]
    sent_by_server = Counter(kind for socket in sockets for kind in _read(socket["sent"]))
    sent_by_client = Counter(kind for socket in sockets for kind in socket["received"])
    received, sent = Counter(report["received"]), Counter(report["sent"])
    # What the server said after the last answer nobody may have read before hanging up.
    late = Counter(kind for socket in sockets for kind in socket["sent"]) - sent_by_server
    roots = [span for span in spans if span["name"] == ROOT]
    tools = [span for span in spans if span["name"].startswith("execute_tool")]
    tools = [span for span in tools if "otel_realtime.tool.timing" in span["attributes"]]
    requests = [span for span in spans if span["name"] == "request"]
    named = Counter(span["name"] for span in spans)
    faults = list(report["faults"]) + list(report["warned"])

    def expect(what: str, expected: object, actual: object) -> None:
        if expected != actual:
            faults.append(f"{what}: {actual} instead of {expected}")

    expect("frames received too few", {}, dict(sent_by_server - received))
    expect("frames received too often", {}, dict(received - sent_by_server - late))
    expect("frames sent", dict(sent_by_client), dict(sent))
    expect("roots", len(sockets), len(roots))
    expect("roots with nothing below", [], [s["id"] for s in roots if not _children(spans, s)])
    expect("roots that failed", [], [s["attributes"] for s in roots if s["status"] == "ERROR"])
    for kind, count in sent_by_server.items():
        if not kind.endswith(".delta"):
            extra = late.get(kind, 0)
            if not count <= named.get(kind, 0) <= count + extra:
                expect(f"spans of {kind}", count, named.get(kind, 0))
    chats = sum(count for name, count in named.items() if name.startswith("chat "))
    expect("chat spans", sent_by_server["response.created"], chats)
    for root in roots:
        code = root["attributes"].get(CLOSE_CODE)
        expect("close code", True, code in (None, 1000, 1001) or code)
    expect("tool spans", 1, len(tools))
    expect("the tool was run", 1, len(report["asked"]))
    parents = {request["parent"] for request in requests}
    tool = tools[0] if len(tools) == 1 else {"id": None, "attributes": {}}
    return Verdict(
        faults=tuple(faults),
        tool=str(tool["attributes"].get("otel_realtime.tool.timing", "")),
        below=parents == {tool["id"]},
        knew=all(report["asked"]) and bool(report["asked"]),
        recorded=any(channels == 2 and sound for channels, sound in report["recorded"]),
        frames=received.total() + sent.total(),
        closed=", ".join(str(root["attributes"].get(CLOSE_CODE, "")) for root in roots),
    )


def _read(kinds: list[str]) -> list[str]:
    """The events until the last answer was complete: that far every client reads."""
    ends = [at for at, kind in enumerate(kinds) if kind == "response.done"]
    return kinds[: ends[-1] + 1] if ends else kinds


def _children(spans: list[Json], of: Json) -> list[Json]:
    return [span for span in spans if span["parent"] == of["id"]]
