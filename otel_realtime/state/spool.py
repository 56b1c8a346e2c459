"""Encoded spans on disk, kept until LangSmith has them.

Each file under ``<state_dir>/spool/<instance id>/`` is one batch: a line of JSON with the destination
of the spans, then the gzipped protobuf. A file gets its name when it is complete, and is deleted when
LangSmith has accepted it; files of a dead process are sent by ``otel-realtime recover``. The API key
is never written.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from otel_realtime.diagnostics import warn_once
from otel_realtime.state import FORMAT, check_format, owner
from otel_realtime.state.files import made_anew, read_bytes
from otel_realtime.state.owner import SPOOL
from otel_realtime.state.quota import quota_of, used_up
from otel_realtime.version import VERSION

SUFFIX: Final = ".spans"
#: The bounds are checked each time this many bytes have been written.
TIDY_BYTES: Final = 16_000_000
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Label:
    """The destination of the spans in a file, and their number.

    Attributes:
        api_url: the LangSmith server they are meant for.
        project: the project there.
        spans: how many there are.
        size: bytes before compression.
        unsent: no process has sent it yet, in any form.
    """

    api_url: str
    project: str
    spans: int
    size: int
    unsent: bool = False

    def to_wire(self) -> dict[str, Any]:
        """Return it as the JSON object of the file's first line."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "api_url": self.api_url,
            "project": self.project,
            "spans": self.spans,
            "size": self.size,
            **({"unsent": True} if self.unsent else {}),
        }

    @classmethod
    def from_wire(cls, source: object) -> Label:
        """Read a label from its JSON object.

        Raises:
            NewerFormatError: a later version wrote it in a format that this one does not know.
            ValueError: it does not say where the spans go.
        """
        if not isinstance(source, dict):
            raise ValueError("the label is not an object")
        check_format(source)
        api_url, project = source.get("api_url"), source.get("project")
        if not (isinstance(api_url, str) and isinstance(project, str)):
            raise ValueError("the label does not say where the spans go")
        counts = [source.get(key) for key in ("spans", "size")]
        spans, size = (n if type(n) is int and 0 <= n < 2**53 else 0 for n in counts)
        return cls(api_url, project, spans, size, source.get("unsent") is True)


class Spool:
    """Writes one process's batches for one LangSmith project; safe from any thread.

    Args:
        state_dir: ``Settings.state_dir``.
        api_url: the server they are meant for.
        project: the project there.
        tidy: called now and then to keep the directory within its bounds.
        unsent: this process sends none of them; a worker does.
    """

    def __init__(
        self,
        state_dir: Path,
        api_url: str,
        project: str,
        tidy: Callable[[], None] | None = None,
        *,
        unsent: bool = False,
    ) -> None:
        self._unsent = unsent
        self.state_dir = state_dir
        self._tidy = tidy
        self._untidy_bytes = 0
        self._api_url = api_url
        self._project = project

    def write(self, body: bytes, spans: int, size: int) -> Path | None:
        """Write a batch to disk; return ``None``, and warn once, if the disk does not accept it."""
        label = Label(self._api_url, self._project, spans, size, self._unsent)
        name = f"{time.time_ns():020d}-{next(_numbers):06d}{SUFFIX}"
        folder = self.state_dir / SPOOL / owner.instance_id()
        try:
            owner.claim_state(self.state_dir)
            owner.make_folder(folder.parent)
            owner.make_folder(folder)
            if not quota_of(self.state_dir).take(len(body)):
                raise used_up()
            write(folder / name, label, body)
        except OSError as error:
            warn_once(
                ("spool", str(self.state_dir)),
                "spans cannot be kept on disk (%s): they wait for LangSmith in memory",
                error,
            )
            return None
        self._untidy_bytes += len(body)
        if self._tidy is not None and self._untidy_bytes >= TIDY_BYTES:
            self._untidy_bytes = 0
            self._tidy()
        return folder / name

    def close(self) -> None:
        """Remove the folder if nothing is left in it."""
        try:
            (self.state_dir / SPOOL / owner.instance_id()).rmdir()
        except OSError:
            pass


def write(path: Path, label: Label, body: bytes) -> None:
    """Write a file; it gets its name only when it is complete.

    Raises:
        OSError: it cannot be written.
    """
    data = json.dumps(label.to_wire()).encode() + b"\n" + body
    partial = path.with_suffix(".part")
    try:
        descriptor = made_anew(partial)
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(partial, path)
    except OSError:
        remove(partial)
        raise


def read(path: Path) -> tuple[Label, bytes]:
    """Read a file: its label and the body to send.

    Raises:
        OSError: it cannot be read.
        NewerFormatError: a later version wrote it in a format that this one does not know.
        ValueError: it is not a file of ours.
    """
    line, _, body = read_bytes(path).partition(b"\n")
    try:
        return Label.from_wire(json.loads(line)), body
    except RecursionError as error:
        raise ValueError("the label is nested too deep") from error


def remove(path: Path) -> None:
    """Delete a file, if it can be deleted."""
    try:
        path.unlink()
    except OSError:
        pass


def files(folder: Path) -> list[Path]:
    """Return the batches that one process left, oldest first."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    except OSError:
        return []
