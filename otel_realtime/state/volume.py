"""The kind of disk that holds the state directory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from otel_realtime.diagnostics import logger_of

logger = logger_of(__name__)

_MOUNTS: Final = Path("/proc/self/mounts")
_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})


def kind_of(folder: Path) -> str:
    """Return the type of a folder's file system, as the kernel names it; empty if unknown."""
    try:
        mounts = _MOUNTS.read_text(errors="replace").splitlines()
        resolved = folder.resolve()
    except OSError:
        return ""
    kind, longest = "", -1
    for line in mounts:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(fields[1].replace("\\040", " "))
        depth = len(point.parts)
        if depth >= longest and (point == resolved or point in resolved.parents):
            kind, longest = fields[2], depth
    return kind


def is_in_memory(folder: Path) -> bool:
    """Return whether a folder is lost with the machine or container; ``False`` if unknown."""
    return kind_of(folder) in _IN_MEMORY


def warn_if_in_memory(state_dir: Path) -> None:
    """Warn if recordings in this state directory use memory and do not outlive the machine."""
    if is_in_memory(state_dir):
        logger.warning(
            "state_dir %s is in memory (tmpfs): recordings of live calls count against the "
            "memory limit, and what is not delivered is lost with a restart of the container; "
            "set OTEL_REALTIME_STATE_DIR to a disk",
            state_dir,
        )
