"""Recording: one background writer per process, a journal on disk, a WAV in the end.

The app's task only queues references to frames (:class:`Recorder`); the :class:`Writer` decodes,
journals and keeps the timeline; :func:`render` turns a folder into the recording.
"""

from __future__ import annotations

from otel_realtime.core.timeline import EVENTS, ItemAudio
from otel_realtime.recording.owner import instance_id, new_folder, owner_of, taken_over
from otel_realtime.recording.recorder import Recorder
from otel_realtime.recording.render import Rendered, render
from otel_realtime.recording.track import AudioSummary
from otel_realtime.recording.writer import Writer

__all__ = [
    "EVENTS",
    "AudioSummary",
    "ItemAudio",
    "Recorder",
    "Rendered",
    "Writer",
    "instance_id",
    "new_folder",
    "owner_of",
    "render",
    "taken_over",
]
