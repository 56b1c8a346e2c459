"""Notes in the JSON beside a kept recording what was silenced."""

from __future__ import annotations

import json
import os
from pathlib import Path

from otel_realtime.calls.schema import SCHEMA
from otel_realtime.core.audio.formats import NS_PER_MS
from otel_realtime.core.audio.redactions import Stretch
from otel_realtime.delivery.keep import SIDECAR
from otel_realtime.errors import RecordingError


def note_silenced(recording: Path, stretch: Stretch) -> None:
    """Add a stretch to the ``redacted`` list of the JSON beside a recording, if there is such a file.

    Args:
        recording: the recording.
        stretch: what was silenced in it.

    Raises:
        RecordingError: the JSON cannot be read or written.
    """
    path = recording.resolve().with_suffix(SIDECAR)
    if not path.is_file():
        return
    try:
        call = json.loads(path.read_bytes())
        if not isinstance(call, dict) or call.get("schema") != SCHEMA:
            return  # another JSON file that only has the same name
        before = call.get("redacted")
        silenced = {
            "start_ms": stretch.start_ns // NS_PER_MS,
            "end_ms": -(-stretch.end_ns // NS_PER_MS),
            "side": stretch.side or "both",
            "why": stretch.why,
        }
        call["redacted"] = [*(before if isinstance(before, list) else []), silenced]
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.write_text(json.dumps(call, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        part.chmod(path.stat().st_mode & 0o7777)
        os.replace(part, path)
    except (OSError, ValueError, RecursionError) as error:
        raise RecordingError(
            f"{recording} is silenced, but {path} does not say so: {error}"
        ) from error
