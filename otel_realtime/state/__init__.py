"""The state directory: the on-disk format of live and undelivered conversations.

Layout, below ``Settings.state_dir`` (folders 0700, files 0600)::

    owners/<instance id>.lock                     one per process, under a POSIX record lock
        conversations/<instance id>-<uuid>/           one per conversation
            journal.jsonl                             one JSON array per line: [kind, t, ...]
            user.raw  agent.raw                       audio as it was on the wire, append-only; silenced
                                                      stretches are overwritten once they are rendered
            user-tap.raw  agent-tap.raw               audio that the app itself provided
            conversation.wav                          the recording; made again by the delivering process
        delivered.json                            steps of the delivery that are done
                stored.ids                                spans that reached the spool, 16 hex digits per line
    spool/<instance id>/<time>-<number>.spans     a JSON line, then one gzipped OTLP request

A file whose name ends in ``.part`` was not written completely; no process reads it.

*Ownership.* An instance id (32 hex digits) belongs to one process, which holds the id's lock while it
lives. Only the holder of a lock may read, deliver and delete the data stored under that id.

*Journal.* The first record is ``["open", 0, {header}]``. The records of the trace are described in
``notes``, those of the audio in ``core.audio.timeline``. ``t`` is nanoseconds since the start and never
goes back. An ``offset`` of -1 means audio that was not kept. A line is written after the audio it refers
to, so a crash leaves a valid prefix; a torn last line is ignored.

*Header.* Only the first three fields are required::

    trace_id  root_span_id              OTel ids, 32 and 16 hex digits
    start_ns                            the root's start, epoch ns
        format  version                     see below; version of the package that wrote it
        mono_ns                             that process's monotonic clock at the start
        thread_id  given_thread_id          the thread, and whether the app named it
        provider                            [name, host, port] of the model's server
        call_id  model                      of the call, if the app's request named them
        metadata  tags                      set by the app for the conversation
        parent  ambient                     [trace id, span id] of the caller's span; the root is below it
    view_url                            address of a page that shows it; null without the setting
    leg                                 "direct", "collector" or "none": how spans reach LangSmith
        by_runs_api                         the root run is delivered by the runs API
        api_url  project                    the LangSmith server and project it is meant for
        root_run_id  dotted_order           of the root run; derived, for human readers
        policy                              which content may be shown: {"inputs", "outputs", "audio",
                                            "run_inputs", "run_outputs"}
        records  recorded                   audio was to be recorded; and had a destination
        name  recordings_dir                file name and folder of a kept recording
    audio_format  max_attachment_mb     settings of the same name
    payload_limit  skip_events  title   likewise
    false_interruption_ms               likewise
        lists_spans                         ``stored.ids`` is written: other spans died with the process
    exports                             the app's own provider had an exporter
    resource                            attributes of the OTel resource

*Delivered.* A list of steps: ``posted`` (LangSmith has the root run), ``kept`` (the recording is in
``recordings_dir``), ``otlp`` and ``spans`` (spans that were open went to the app's own destinations, and
to LangSmith), ``claimed`` (the root goes by the runs API after all), ``root`` (LangSmith has its end).

*Spool file.* The first line is a JSON object, ``spool.Label``: ``format``, ``version``, ``api_url``,
``project``, ``spans`` (how many) and ``size`` (before compression). The rest is the request's body.
``unsent`` is true if the process that wrote the file does not send it, so that a worker may put several
into one request. Such a request is a file of its own, named after its first and its last file.

*Handover.* With ``Settings.deliver = "worker"`` a process gives an ended conversation and its spans to an
instance id that no process has, by renaming; the process that takes that id's lock delivers them. The
step ``released`` says that the first process is still running, and exports the app's open spans itself.

*Versions.* The header and the label carry ``format``, an integer; version 0.1.0 wrote none, which
means 1. A reader uses defaults for values that are missing or of another type, and ignores fields, kinds
and trailing values that it does not know, so these can be added within a format. Content is hidden
unless the data says that it may be shown. A change that would make an older reader report something
false raises the number; a reader leaves data of a higher format alone and reports it.

*Trust.* Everything here is read as data. No link below the directory is followed, whatever its target.
Destinations outside that a journal names (the LangSmith server, ``recordings_dir``) are used only if the
recovering process is configured with the same ones.

*Invalid data.* A line that is not a record, or a record that is invalid or later than its file's last
change, affects only itself. Data that cannot be read at all (no header, another kind of file, a link in
place of a folder) stays where it is, is reported, and does not block anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_realtime.errors import NewerFormatError

#: Format in which this version writes the state directory; it reads all lower ones as well.
FORMAT: Final = 1


def check_format(source: Mapping[str, Any]) -> None:
    """Reject data that a later version wrote in a format that this one does not know.

    Raises:
        NewerFormatError: the format is a later one.
    """
    written = source.get("format", 1)
    if isinstance(written, int) and written > FORMAT:
        version = source.get("version")
        by = f"otel-realtime {version}" if isinstance(version, str) else "a later version"
        raise NewerFormatError(
            f"{by} wrote it in format {written}; this version reads up to {FORMAT}: "
            "recover it with the later version"
        )
