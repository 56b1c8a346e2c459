"""Gives ended conversations to the process that delivers them, while this process is still running.

The holder of an instance's lock may deliver the data under its id, and a process holds its own lock as
long as it lives. So data for a worker is renamed to an id that no process has, as if it came from a
process that wrote nothing else: the worker that takes this id's lock delivers it. The lock is held here
while the parts are moved, so that no worker finds only some of them.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from otel_realtime.state import owner
from otel_realtime.state.progress import RELEASED, Progress


def release(state_dir: Path, folder: Path | None, batches: Sequence[Path] = ()) -> None:
    """Give up a conversation and its spans; the caller must not touch them afterwards.

    If the process is killed in between, it has given up a part; the rest is still under its own id.

    Args:
        state_dir: the state directory.
        folder: the conversation's folder, completely written; ``None``: only spans.
        batches: files of the spool.

    Raises:
        OSError: they cannot be moved; the rest still belongs to this process.
    """
    heir = uuid.uuid4().hex
    with owner.taken_over(state_dir, heir):
        if batches:
            spool = state_dir / owner.SPOOL / heir
            owner.make_folder(spool)
            for path in batches:
                try:
                    os.replace(path, spool / path.name)
                except FileNotFoundError:  # ``bounds`` deleted it: too old, or too much data
                    pass
        if folder is not None:
            Progress(folder).note(RELEASED)
            rest = folder.name.partition("-")[2]
            os.replace(folder, folder.with_name(f"{heir}-{rest}"))
