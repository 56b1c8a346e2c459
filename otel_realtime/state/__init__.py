"""The state directory: the on-disk contract of live and undelivered conversations.

Layout, below ``Settings.state_dir`` (folders 0700, files 0600)::

    owners/<instance id>.lock                     one per process, under a POSIX record lock
    conversations/<instance id>-<uuid>/           one per conversation
        journal.jsonl                             one JSON array a line: [kind, t, ...]
        user.raw  agent.raw                       audio as it was on the wire, append-only; what is
                                                  silenced is overwritten once it is rendered
        user-tap.raw  agent-tap.raw               audio that the app itself gave
        conversation.wav                          the recording; whoever delivers makes it anew
        delivered.json                            steps of the delivery that are done
        stored.ids                                spans that reached the spool, 16 hex digits a line
    spool/<instance id>/<time>-<number>.spans     a JSON line, then one gzipped OTLP request

A name that ends in ``.part`` is a file that was not written to its end; nobody reads it.

*Who owns what.* An instance id (32 hex digits) is one process's; while it lives it holds its lock.
Whoever holds a lock may read, deliver and delete what stands under that id, and nobody else.

*Journal.* The first record is ``["open", 0, {header}]``; the trace's notes are in ``notes``, the
sound's records in ``core.audio.timeline``. ``t`` is nanoseconds since the start and never goes back.
An ``offset`` of -1 is audio that was not kept. A line is written after the audio it speaks of, so
what a crash leaves is a valid prefix; a torn last line is left out.

*Header.* Essential are only the first three::

    trace_id  root_span_id              OTel ids, 32 and 16 hex digits
    start_ns                            the root's start, epoch ns
    format  version                     see below; of the package that wrote it
    mono_ns                             that process's monotonic clock at the start
    thread_id  given_thread_id          the thread, and whether the app named it
    provider                            [name, host, port] of the model's server
    call_id  model                      of the call, where the app's request said so
    metadata  tags                      what the app says of the conversation
    parent  ambient                     [trace id, span id] of the caller's span; the root is below it
    view_url                            address of a page that shows it; null without the setting
    leg                                 "direct", "collector" or "none": how spans reach LangSmith
    by_runs_api                         the root run goes by the runs API
    api_url  project                    the LangSmith it is meant for
    root_run_id  dotted_order           of the root run; derived, for people who read this
    policy                              what may be shown: {"inputs", "outputs", "audio", "run_inputs",
                                        "run_outputs"}
    records  recorded                   sound was wanted; and had somewhere to go
    name  recordings_dir                file name, and where a recording is kept
    audio_format  max_attachment_mb     settings of the same name
    payload_limit  skip_events  title   likewise
    false_interruption_ms               likewise
    lists_spans                         ``stored.ids`` is written: what it lacks died with the process
    exports                             the app's own provider had an exporter
    resource                            attributes of the OTel resource

*Delivered.* A list of steps: ``posted`` (LangSmith has the root run), ``kept`` (the recording is in
``recordings_dir``), ``otlp`` and ``spans`` (what was open went to the app's own destinations, and to
LangSmith), ``claimed`` (the root goes by the runs API after all), ``root`` (LangSmith has its end).

*Spool file.* The first line is a JSON object, ``spool.Label``: ``format``, ``version``, ``api_url``,
``project``, ``spans`` (how many) and ``size`` (before compression). The rest is the request's body.
``unsent`` is true where the process that wrote it sends nothing, so that a worker may put several into
one request; such a request is a file of its own, named after the first and the last of them.

*Handing over.* With ``Settings.deliver = "worker"`` a process gives a conversation that has ended, and its
spans, to an instance id that is nobody's, by renaming: whoever takes that id's lock delivers it. ``released`` among
the steps says that the process lives on, and that what it left open of its own comes by itself.

*Versions.* The header and the label carry ``format``, an integer; version 0.1.0 wrote none, which
means 1. A reader takes defaults for what is missing or of another type, and ignores fields, kinds
and trailing values it does not know, so they are added within a format. Where nothing says that
content may be shown, it is hidden. A change that would make an older reader say something false
raises the number; a reader leaves a higher one alone and names it.

*Trust.* What stands here is read as data. No link below the directory is followed, whatever it leads
to, and what a journal names outside (the LangSmith, ``recordings_dir``) is used only where the
process that recovers is set to the same.

*Nonsense.* A line that is no record, a record that makes no sense or is later than its file, costs
only itself. What cannot be read at all (no header, another kind of file, a link in a folder's place)
stays where it is, is named, and is in the way of nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_realtime.errors import NewerFormatError

#: Of the state directory, as this version writes it; every lower one is read as well.
FORMAT: Final = 1


def check_format(source: Mapping[str, Any]) -> None:
    """Refuse what a later version wrote in a format that this one does not know.

    Raises:
        NewerFormatError: so it is.
    """
    written = source.get("format", 1)
    if isinstance(written, int) and written > FORMAT:
        version = source.get("version")
        by = f"otel-realtime {version}" if isinstance(version, str) else "a later version"
        raise NewerFormatError(
            f"{by} wrote it in format {written}; this version reads up to {FORMAT}: "
            "recover it with the later version"
        )
