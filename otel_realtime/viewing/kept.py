"""Reads the calls of a folder of kept recordings: each is a recording with a call object beside it.

A JSON file without a recording is a call without sound. A recording without a JSON file is a call with
nothing but sound.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from otel_realtime.calls.schema import SCHEMA, Call, Recording
from otel_realtime.delivery.keep import SIDECAR
from otel_realtime.diagnostics import logger_of
from otel_realtime.errors import ConfigError, RecordingError
from otel_realtime.exporting.sources import MIMES, checked, parsed
from otel_realtime.sandbox import call_index
from otel_realtime.sandbox.bare_call import HEAD_BYTES, bare_call, recording_of
from otel_realtime.sandbox.changes import Changes
from otel_realtime.sandbox.model import JsonObject
from otel_realtime.sandbox.rows import encode, storable
from otel_realtime.viewing.files import Files

logger = logger_of(__name__)

#: The end of a kept recording's name: the root span's id.
_SPAN_ID: Final = re.compile(r"-([0-9a-f]{16})\Z")
_DATE: Final = re.compile(r"\A([0-9]{8}T[0-9]{6})Z-")
#: An id that can be part of a URL path, except those below: a browser resolves ``..``.
_ADDRESS: Final = re.compile(r"[^/]{1,255}", re.DOTALL)
_NO_ADDRESS: Final = frozenset({".", "..", "summary"})
_NAMED: Final = 5


class NotKept(ConfigError):
    """A name matches no call of a folder."""


class KeptCalls:
    """The calls of a folder; implements ``sandbox.page_api.CallSource``.

    Args:
        files: the files of the folder.
    """

    def __init__(self, files: Files) -> None:
        self.changes = Changes()
        self._files = files
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self._stamps: dict[str, str] = {}
        #: Stem of a file's name -> id of the call, and id -> name of its recording.
        self._ids: dict[str, str] = {}
        self._recordings: dict[str, str] = {}
        self._taken: set[str] = set()
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.executescript(call_index.SCHEMA)
        self.refresh()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            yield self._db

    def close(self) -> None:
        """Close the index and end the streams of changes."""
        self.changes.close()
        with self._lock:
            self._db.close()

    def refresh(self) -> None:
        """Read the files that were added, changed or deleted since the last time."""
        with self._refreshing:
            self._refresh(self._files.stamps())  # a listing of many files takes a while

    def _refresh(self, stamps: dict[str, str]) -> None:
        with self._lock:
            names = stamps.keys() | self._stamps.keys()
            changed = {name for name in names if stamps.get(name) != self._stamps.get(name)}
            stems = {Path(name).stem for name in changed if _is_ours(name)}
            self._stamps = stamps
            by_stem: dict[str, list[str]] = {}
            for name in stamps:
                by_stem.setdefault(Path(name).stem, []).append(name)
            self._db.execute("BEGIN")
            try:
                ids = {
                    call_id
                    for stem in sorted(stems)
                    for call_id in self._read(stem, by_stem.get(stem, []))
                }
            finally:  # even after an error, the calls that were read are shown
                self._db.execute("COMMIT")
        self.changes.publish(ids)

    def _read(self, stem: str, names: list[str]) -> Iterator[str]:
        """Add the call with one file name to the index, or remove it; yield the ids that changed."""
        before = self._ids.pop(stem, None)
        if before is not None:
            call_index.remove(self._db, [before])
            self._recordings.pop(before, None)
            self._taken.discard(before)
            yield before
        recording = next((name for name in names if Path(name).suffix.lower() in MIMES), None)
        call = self._sidecar(f"{stem}{SIDECAR}") if f"{stem}{SIDECAR}" in names else None
        if call is None:
            if recording is None:
                return
            call = self._unnamed(stem, recording)
        elif recording is None:
            call["recording"] = None
        elif call["recording"] is None or call["recording"]["file"] != recording:
            call["recording"] = self._recording(recording)
        call["live"] = False
        call["id"] = self._address(call["id"], stem)
        call_index.put(self._db, call)
        self._ids[stem] = call["id"]
        self._taken.add(call["id"])
        if recording is not None:
            self._recordings[call["id"]] = recording
        yield call["id"]

    def _address(self, call_id: str, stem: str) -> str:
        """Return a unique id that can be part of a URL path: the call's own id if possible."""
        for one in (call_id, stem, f"{stem} {uuid4()}"):
            address = str(storable(one))
            if (
                _ADDRESS.fullmatch(address)
                and address not in _NO_ADDRESS
                and address not in self._taken
            ):
                break  # an id may be taken, for example by a copy of the call under another name
        return address

    def _sidecar(self, name: str) -> Call | None:
        try:
            value = parsed(self._files.read(name))
            encode(value)  # JSON that can be parsed may be nested too deeply to be encoded again
        except (OSError, ValueError, RecursionError) as error:
            logger.warning("%s cannot be read: %s", name, error)
            return None
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            return None  # a JSON file that is not a call object
        try:
            return checked(value, name)
        except RecordingError as error:
            logger.warning("%s", error)
            return None

    def _recording(self, name: str) -> Recording:
        try:
            head, size = self._files.head(name, HEAD_BYTES)
        except OSError:
            head, size = b"", 0
        return recording_of(head, size, name, MIMES[Path(name).suffix.lower()])

    def _unnamed(self, stem: str, recording: str) -> Call:
        span_id = _SPAN_ID.search(stem)
        call_id = str(UUID(hex=span_id[1].rjust(32, "0"))) if span_id else stem
        about = self._recording(recording)
        return bare_call(
            call_id,
            name=stem,
            started_at=_date_of(stem),
            duration_ms=about["duration_ms"],
            recording=about,
        )

    def find(self, name: str) -> str:
        """Return the id of the one call that a name refers to.

        Args:
            name: its id, trace id, thread id or root span id, or the name of its file.

        Raises:
            ConfigError: the name matches no call, or several.
        """
        stem = Path(name).stem if Path(name).suffix.lower() in (*MIMES, SIDECAR) else name
        with self._lock:
            rows = self._db.execute(
                "SELECT id FROM calls WHERE :name IN (id, trace_id, thread_id)"
                " OR replace(id, '-', '') = :padded ORDER BY started_at DESC",
                {"name": storable(name), "padded": storable(name.rjust(32, "0"))},
            ).fetchall()
            ids = [row["id"] for row in rows] or [
                call_id for known, call_id in self._ids.items() if known == stem
            ]
        if not ids:
            raise NotKept(f"no kept call of {name!r}")
        if len(ids) > 1:
            listed = ", ".join(ids[:_NAMED]) + (", ..." if len(ids) > _NAMED else "")
            raise ConfigError(f"{name!r} has {len(ids)} calls, name one of them: {listed}")
        return str(ids[0])

    def only(self) -> str:
        """Return the id of the only call.

        Raises:
            ConfigError: there is none.
        """
        with self._lock:
            for call_id in self._ids.values():
                return call_id
        raise ConfigError("nothing is known of this call")

    # --- what the page reads -----------------------------------------------------------------------

    def calls(self, query: call_index.Query) -> JsonObject:
        """Return one page of the calls that a query finds."""
        with self._reading() as db:
            return call_index.page(db, query)

    def calls_summary(self, query: call_index.Query) -> JsonObject:
        """Return the summary above the list."""
        with self._reading() as db:
            return call_index.summary(db, query)

    def call(self, call_id: str) -> JsonObject | None:
        """Return a call object."""
        with self._reading() as db:
            return call_index.call(db, call_id)

    def findings(self, call_id: str) -> JsonObject:
        """Return no findings, because kept calls were not checked."""
        return {"findings": [], "shapes": []}

    def recording(self, call_id: str) -> tuple[Path, str] | None:
        """Return the file of a recording and its media type; None without a recording."""
        with self._lock:
            name = self._recordings.get(call_id)
        if name is None:
            return None
        try:
            return self._files.local(name), MIMES[Path(name).suffix.lower()]
        except OSError as error:
            logger.warning("%s cannot be fetched: %s", name, error)
            return None

    def spans(self, call_id: str) -> list[JsonObject] | None:
        """Return None: spans are not kept with a recording."""
        return None

    def search_spans(self, call_id: str, text: str) -> list[str]:
        """Return no ids, because there are no spans."""
        return []


def _date_of(stem: str) -> str | None:
    found = _DATE.match(stem)
    if found is None:
        return None
    try:
        return f"{datetime.strptime(found[1], '%Y%m%dT%H%M%S').isoformat()}.000Z"
    except ValueError:  # the digits are not a date
        return None


def _is_ours(name: str) -> bool:
    return Path(name).suffix.lower() in (*MIMES, SIDECAR)
