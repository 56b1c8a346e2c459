"""The state directory: the on-disk contract of live and undelivered conversations.

Layout, below ``Settings.state_dir`` (folders 0700, files 0600)::

    owners/<instance id>.lock                     one per process, under a POSIX record lock
    conversations/<instance id>-<uuid>/           one per conversation
        journal.jsonl                             one JSON array a line: [kind, t, ...]
        user.raw  agent.raw                       audio as it was on the wire, append-only
        user-tap.raw  agent-tap.raw               audio that the app itself gave
        delivered.json                            steps of the delivery that are done
    spool/<instance id>/<time>-<number>.spans     a JSON line, then one gzipped OTLP request

*Who owns what.* An instance id (32 hex digits) is one process's; while it lives it holds its lock.
Whoever holds a lock may read, deliver and delete what stands under that id, and nobody else.

*Journal.* The first record is ``["open", 0, {header}]`` (``header``); the trace's notes are in
``notes``, the sound's records in ``core.audio.timeline``. ``t`` is nanoseconds since the start. A
line is written after the audio it speaks of, so what a crash leaves is a valid prefix; a torn last
line is left out.

*Spool file.* The first line is a JSON object, ``spool.Label``; the rest is the request's body.

*Versions.* The header and the label carry ``format``, an integer; version 0.1.0 wrote none, which
means 1. A reader takes defaults for what is missing and ignores what it does not know, so fields
are added within a format. A change that would make an older reader say something false raises the
number; a reader leaves a higher one alone and names it.
"""

from __future__ import annotations

from typing import Final

#: Of the state directory, as this version writes it; every lower one is read as well.
FORMAT: Final = 1
