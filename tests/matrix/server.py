"""The scripted server as a process of its own: it says its URL, and when asked what its sockets saw.

The client's environment need not be able to run it: it runs in that of the matrix.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from otel_realtime.demo.scenario import Answer, Call
from otel_realtime.demo.server import Connection, ScriptedServer
from tests.support.talking import SPEED, scenario, tone

#: A call of a tool, and after its result an answer of 0.3 s.
SCENARIO = scenario(
    Answer(calls=(Call(name="look_up", arguments='{"what": "sky"}'),)),
    *[Answer(text="Blue.", pcm=tone(300))] * 4,
    answer_delay_ms=0,
    rate_limits=False,
)


class AnyPath(ScriptedServer):
    """Speaks the protocol at whatever path is asked for, as gateways do."""

    def _check_handshake(self, socket: Any, request: Any) -> None:
        return None


def main() -> None:
    with AnyPath(SCENARIO, speed=SPEED) as server:
        print(json.dumps(server.url), flush=True)
        told = 0
        for _ in sys.stdin:  # a line asks for what there was since the one before
            new, told = server.connections[told:], len(server.connections)
            print(json.dumps([_told(connection) for connection in new]), flush=True)


def _told(connection: Connection) -> dict[str, list[str]]:
    received = [frame if isinstance(frame, dict) else {} for frame in connection.received]
    return {
        "sent": [event["type"] for event in connection.sent],
        "received": [frame.get("type", "") for frame in received],
    }


if __name__ == "__main__":
    main()
