"""``otel-realtime view`` and ``otel-realtime report``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import quote

from otel_realtime import console
from otel_realtime.delivery.keep import SIDECAR, is_remote, without_password
from otel_realtime.errors import ConfigError, RecordingError
from otel_realtime.exporting.sources import MIMES, sources
from otel_realtime.sandbox.access import own_names
from otel_realtime.sandbox.foreground import given_links, listen, run_in_foreground
from otel_realtime.sandbox.page_api import link_templates
from otel_realtime.settings import Settings
from otel_realtime.state.journal import JOURNAL
from otel_realtime.viewing.files import files_of
from otel_realtime.viewing.kept import KeptCalls, NotKept
from otel_realtime.viewing.report import report
from otel_realtime.viewing.server import Watch, server_for

#: Interval at which the page looks for new recordings, s: in a folder, and in a bucket.
_LOCAL_S: Final = 1.0
_REMOTE_S: Final = 30.0
#: Characters that are replaced in the file name of a report, and its greatest length.
_UNSAFE: Final = re.compile(r"[^\w. -]+")
_LONGEST_NAME: Final = 60


def view(
    what: str | None = None,
    *,
    recordings_dir: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    open_browser: bool = False,
    keys: Sequence[str] = (),
    names: Sequence[str] = (),
    links: Sequence[str] = (),
    as_json: bool = False,
) -> int:
    """Show kept recordings in a browser until Ctrl-C.

    Args:
        what: a folder, an fsspec URL, the file of a recording, or a conversation in
            ``recordings_dir``; None: everything in ``recordings_dir``.
        recordings_dir: where recordings are kept; None: ``Settings.recordings_dir``.
        host: the address to listen on.
        port: the port to listen on.
        open_browser: whether to open the page in a browser.
        keys: the keys that allow reading; empty: no key is needed.
        names: further host names under which the server is reached.
        links: external pages that show a call, as ``NAME=TEMPLATE``.
        as_json: print the address as one line of JSON.

    Returns:
        The exit code: 0 after an interrupt.

    Raises:
        ConfigError: there is nothing to show, or the address cannot be used.
    """
    directory, name = _place(what, recordings_dir)
    templates = given_links(links)
    with _calls(directory, name) as (calls, call_id, folder):
        listener, url = listen(host, port)
        page = url if call_id is None else f"{url}/conversations/{quote(call_id, safe='')}"
        shown = without_password(directory or str(name))
        if as_json:
            welcome = json.dumps({"url": page, "recordings_dir": shown, "keys": bool(keys)})
        else:
            welcome = f"Recordings of {shown} at {page}. Press Ctrl-C to stop."
        server = server_for(
            calls,
            folder / "peaks",
            names=own_names(host, names),
            keys=keys or None,
            links=templates,
        )
        with Watch(calls, _REMOTE_S if directory and is_remote(directory) else _LOCAL_S):
            run_in_foreground(server, listener, welcome, page if open_browser else None)
    return 0


def write_report(
    conversation: str,
    *,
    output: Path | None = None,
    recordings_dir: str | None = None,
    links: Sequence[str] = (),
    as_json: bool = False,
) -> int:
    """Write a call as one HTML file.

    Args:
        conversation: the file of a recording, or a conversation in ``recordings_dir``.
        output: the file; None: named after the call, in the current folder; ``-``: standard output.
        recordings_dir: where recordings are kept; None: ``Settings.recordings_dir``.
        links: external pages that show the call, as ``NAME=TEMPLATE``.
        as_json: print the result as JSON.

    Returns:
        The exit code: 0, or 1 if the recording cannot be decoded and the report has no sound.

    Raises:
        ConfigError: there is no such call, or the file cannot be written.
        RecordingError: the encoder is not installed, or the file of the recording cannot be read.
    """
    piped = output is not None and str(output) == "-"
    if piped and as_json:
        raise ConfigError(
            "--output - and --json both write to standard output: leave one of them out"
        )
    directory, name = _place(conversation, recordings_dir)
    if name is None:
        raise ConfigError(f"{conversation} is a folder: name one of its calls")
    with _calls(directory, name, alone=True) as (calls, call_id, _):
        assert call_id is not None  # a name gives a call, or raises an error
        templates, complete = link_templates(given_links(links)), True
        try:
            try:
                html = report(calls, call_id, templates)
            except (RecordingError, ValueError) as error:  # ValueError: it is not audio
                if isinstance(error.__cause__, ImportError):
                    raise  # an extra is missing
                console.complain(f"the report has no sound: {error}")
                html, complete = report(calls, call_id, templates, sound=False), False
        except OSError as error:
            raise RecordingError(f"cannot read the recording of {conversation}: {error}") from error
    assert html is not None  # it has just been found
    if piped:
        console.say_file(html)
        return 0 if complete else 1
    # A thread id may have any characters, and may be longer than a file name.
    named = _UNSAFE.sub("_", Path(name).name)[:_LONGEST_NAME].lstrip(".-") or "call"
    target = output or Path(f"{named}.html")
    try:
        part = target.with_name(f".{target.name}.part")
        part.write_text(html, encoding="utf-8", errors="replace")
        os.replace(part, target)
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror or error}") from error
    size_mb = round(len(html) / 1e6, 1)
    if as_json:
        console.say_json({"id": call_id, "file": str(target), "size_mb": size_mb})
    else:
        console.say(f"{target} ({size_mb} MB)")
    return 0 if complete else 1


def _place(what: str | None, recordings_dir: str | None) -> tuple[str | None, str | None]:
    """Return the folder, or None without one, and the name of a call in it; None means all calls."""
    if what is not None and not what.strip():  # for example, an unset variable in a script
        raise ConfigError("the name of the call is empty")
    if what is not None and is_remote(what):
        return what, None
    with suppress(OSError):  # a thread id may be longer than any path
        if what is not None and (Path(what) / JOURNAL).is_file():
            return None, what
        if what is not None and Path(os.path.expanduser(what)).is_dir():
            return what, None
        if what is not None:
            path = Path(os.path.expanduser(what))
            if path.suffix.lower() in (*MIMES, SIDECAR) and path.is_file():
                return str(path.parent), path.name
    directory = recordings_dir or Settings().recordings_dir
    if directory is None and what is None:
        raise ConfigError(
            "no folder of recordings is named: give one, or set OTEL_REALTIME_RECORDINGS_DIR"
        )
    return directory, what


@contextmanager
def _calls(
    directory: str | None, name: str | None, *, alone: bool = False
) -> Iterator[tuple[KeptCalls, str | None, Path]]:
    """Open the calls of a folder, or the one call of that name if it is still undelivered.

    Args:
        directory: the folder; None: there is none.
        name: a call in it; None: all.
        alone: if the name is that of a file, read only the files of this call.

    Yields:
        The calls; the id of the call with that name, or None; a folder for temporary files.
    """
    with TemporaryDirectory(prefix="otel-realtime-view-") as temporary, ExitStack() as closing:
        folder = Path(temporary)
        (folder / "fetched").mkdir()
        if directory is not None:
            stem = _stem(directory, name) if alone and name is not None else None
            calls = KeptCalls(files_of(directory, folder / "fetched", stem=stem))
            closing.callback(calls.close)
            try:
                call_id = None if name is None else calls.find(name)
            except NotKept:
                if is_remote(directory):
                    raise
            else:
                yield calls, call_id, folder
                return
        assert name is not None
        made = str(_undelivered(name, directory, folder))
        calls = KeptCalls(files_of(made, folder / "fetched", links=True))
        closing.callback(calls.close)
        yield calls, calls.only(), folder


def _stem(directory: str, name: str) -> str | None:
    """Return the file name without extension, if the call is named by its file."""
    if is_remote(directory) or not (Path(os.path.expanduser(directory)) / name).is_file():
        return None
    return Path(name).stem


def _undelivered(name: str, directory: str | None, folder: Path) -> Path:
    """Render an undelivered call into a folder of its own, and return that folder.

    Raises:
        ConfigError: the name matches no call, or several.
    """
    found = sources(name, directory, Settings().state_dir)
    if len(found) != 1:
        raise ConfigError(f"{name!r} has {len(found)} calls, name one of them")
    source, target = found[0], folder / "undelivered"
    target.mkdir()
    recording = source.recording(target)
    if recording is not None and recording.parent != target:
        (target / f"{source.name}{recording.suffix}").symlink_to(recording.resolve())
    elif recording is not None:
        recording.replace(target / f"{source.name}{recording.suffix}")
    if source.call is not None:
        text = json.dumps(source.call)
        (target / f"{source.name}{SIDECAR}").write_text(text, encoding="utf-8")
    return target
