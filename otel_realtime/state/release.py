"""Gives what has ended up to whoever delivers, while the process lives on.

Whoever holds an instance's lock may deliver what stands under its id, and a process holds its own as long as
it lives. So what a worker is to deliver is renamed to an id that is nobody's, as if a process had left it
that wrote nothing else: of several workers the one that takes this id's lock delivers it. The lock is
held here while the parts are moved, so that nobody finds half of them.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from otel_realtime.state import owner
from otel_realtime.state.progress import RELEASED, Progress


def release(state_dir: Path, folder: Path | None, batches: Sequence[Path] = ()) -> None:
    """Give a conversation and its spans up; they are not to be touched afterwards.

    A process that is killed in between has given up a part; the rest is still under its own id.

    Args:
        state_dir: the state directory.
        folder: the conversation's folder, completely written; ``None``: only spans.
        batches: files of the spool.

    Raises:
        OSError: they cannot be moved; what is left stays this process's.
    """
    heir = uuid.uuid4().hex
    with owner.taken_over(state_dir, heir):
        if batches:
            spool = state_dir / owner.SPOOL / heir
            owner.make_folder(spool)
            for path in batches:
                try:
                    os.replace(path, spool / path.name)
                except FileNotFoundError:  # it was too old, or too much: bounds deleted it
                    pass
        if folder is not None:
            Progress(folder).note(RELEASED)
            rest = folder.name.partition("-")[2]
            os.replace(folder, folder.with_name(f"{heir}-{rest}"))
