"""A process dies between any two steps of a delivery: each thing arrives, and arrives once.

The one exception is what LangSmith accepted without this process having learned it: the answer was
lost. LangSmith answers 409 then, which counts as accepted.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from otel_realtime.recovery.sweep import recover
from otel_realtime.settings import Settings
from tests.support.langsmith_server import LangSmithServer
from tests.support.victims import environment, files_below, victims

RUNS = "otel_realtime.langsmith.runs:RunsClient"
SENDS = "otel_realtime.langsmith.exporter:DirectExporter"
FILES = "otel_realtime.state.files"
PROGRESS = "otel_realtime.state.progress:Progress"
FINISHER = "otel_realtime.delivery.finisher:Finisher"
SPOOL = "otel_realtime.state.spool"

#: Step -> what is sent twice there, because the answer of LangSmith was lost.
STEPS = {
    f"{RUNS}.post:before": None,
    f"{RUNS}.post:after": "post",
    f"{PROGRESS}.note:before:posted": "post",
    f"{PROGRESS}.note:after:posted": None,
    "otel_realtime.conversation.engine:Engine._hand_over:before": None,
    f"{FINISHER}._finish:before": None,
    f"{SENDS}.store:before": None,
    f"{SENDS}.store:after": None,
    f"{SPOOL}:write:before": None,
    f"{SPOOL}:write:after": None,
    f"{SPOOL}:os.replace:before:.spans": None,
    "otel_realtime.recording.render:render:before": None,
    "otel_realtime.recording.channel:Channel.fill:after": None,
    "otel_realtime.recording.render:render:after": None,
    f"{FINISHER}._hand_over:before": None,
    f"{RUNS}.patch:before": None,
    "otel_realtime.langsmith.multipart:BodyReader._read_file:before": None,
    f"{RUNS}.patch:after": "patch",
    f"{PROGRESS}.note:before:root": "patch",
    f"{PROGRESS}.note:after:root": None,
    "otel_realtime.recording.recorder:Recorder.discard:before": None,
    f"{FILES}:shutil.rmtree:before": None,
    f"{FILES}:shutil.rmtree:after": None,
    f"{SENDS}._body:before": None,
    f"{SENDS}._body:after": None,
    f"{SENDS}._settle:before": "spans",
    f"{SENDS}._settle:after": None,
}
#: Those after which nothing may be missing, however little time has passed since the end.
CLOSED = [*STEPS][[*STEPS].index(f"{SENDS}.store:before") :]
CLOSED = [step for step in CLOSED if not step.startswith((SPOOL, SENDS)) or ".store:" in step]


def sent(server: LangSmithServer, run: str) -> tuple[Counter[str], Counter[str]]:
    """How often the run was posted and patched, and each span was sent."""
    whole = [  # the body of a process that died in the middle of it breaks off
        request
        for request in server.posts()
        if len(request.body) == int(request.headers["content-length"])
    ]
    parts = [part.name for request in whole for part in request.parts()]
    runs = Counter(
        name.partition(".")[0] for name in parts if name in (f"post.{run}", f"patch.{run}")
    )
    spans = (f"{int.from_bytes(span.span_id, 'big'):016x}" for span in server.spans())
    return runs, Counter(f"00000000-0000-0000-{digits[:4]}-{digits[4:]}" for digits in spans)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.removeprefix("otel_realtime."))
def test_a_process_that_dies_there(step: str, server: LangSmithServer, tmp_path: Path) -> None:
    """One post, one end, each span once: from the process itself, or from the recovery."""
    state = tmp_path / "state"
    with victims(1, "close", environment(state, server.url, VICTIM_DIES=step)) as (victim,):
        victim.wait_for_death()
    assert recover(Settings(state_dir=state), timeout_s=20).complete
    assert [] == files_below(state)
    twice, (runs, spans) = STEPS[step], sent(server, victim.run)
    assert {"post": 1 + (twice == "post"), "patch": 1 + (twice == "patch")} == runs
    assert {1, 1 + (twice == "spans")} >= {*spans.values()}
    # A kill may lose the last second; a closed call is written completely before it is rendered.
    assert set() == victim.ended_before(0 if step in CLOSED else 1.0) - spans.keys()
