"""What one process of version 0.1.0 left in good order: a conversation and its spool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from otel_realtime.recovery.sweep import Report, recover
from otel_realtime.settings import Settings
from otel_realtime.state import owner
from tests.support import golden
from tests.support.langsmith_server import LangSmithServer

HEALTHY = golden.expected("0.1.0")["conversations"]["phone"]
HEALTHY_OWNER = HEALTHY["folder"].partition("-")[0]
_STATE = golden.GOLDEN / "0.1.0" / "state"
FOLDER = _STATE / "conversations" / HEALTHY["folder"]
(SPOOLED,) = (_STATE / "spool" / HEALTHY_OWNER).iterdir()
_FIRST, *RECORDS = (FOLDER / "journal.jsonl").read_text().splitlines()
HEADER = json.loads(_FIRST)[2]


def header(**changes: Any) -> bytes:
    """The first line of its journal, with other fields."""
    return json.dumps(["open", 0, {**HEADER, **changes}]).encode() + b"\n"


def recovered(state: Path, server: LangSmithServer) -> Report:
    """Recover a state directory, and see that all that is healthy was delivered."""
    report = recover(Settings(state_dir=state), timeout_s=20)
    row = next(row for row in report.conversations if row["id"] == HEALTHY["run"])
    assert (True, "recording: attached") == (row["delivered"], row["what"])
    assert not (state / owner.CONVERSATIONS / HEALTHY["folder"]).exists()
    assert len(HEALTHY["spooled"]) == report.spans
    sent = {f"{int.from_bytes(span.span_id, 'big'):016x}" for span in server.spans()}
    assert {*HEALTHY["spooled"], *HEALTHY["open"]} <= sent
    return report
