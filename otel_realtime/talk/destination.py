"""Chooses the destination of the conversation: the environment's, otherwise a sandbox in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_realtime.delivery.keep import check_folder
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.settings import Settings
from otel_realtime.setup.destinations import destinations

if TYPE_CHECKING:
    from otel_realtime.sandbox import Sandbox

PROJECT: Final = "otel-realtime-talk"
RECORDINGS_DIR: Final = "recordings"
#: Prefixes of variables that would send data elsewhere, or keep the local trace from being shown.
_REPLACED: Final = ("LANGSMITH_", "LANGCHAIN_", "OTEL_TRACES_SAMPLER", "OTEL_SDK_DISABLED")
#: Variables that choose where traces go.
_CHOICES: Final = ("OTEL_TRACES_EXPORTER", "OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE")
_NO_SERVER: Final = (
    "The trace goes nowhere, because the sandbox's libraries are not installed: "
    'pip install "otel-realtime[sandbox]". The recording is kept.'
)
_NOT_TRACED: Final = (
    "LANGSMITH_API_KEY is set, but LANGSMITH_TRACING is not true: the trace stays on this machine."
)


@dataclass(slots=True, kw_only=True)
class Destination:
    """Where the trace and the recording go.

    Attributes:
        name: its name, for the screen.
        recordings_dir: where the WAV is kept: a folder, or an fsspec URL.
        sandbox: the sandbox, if the trace goes there.
        notes: notes about it for the user.
    """

    name: str
    recordings_dir: str
    sandbox: Sandbox | None = None
    notes: list[str] = field(default_factory=list)


@contextmanager
def destination(*, out: Path | None, local: bool) -> Iterator[Destination]:
    """Set the environment for one conversation, and restore it afterwards.

    Args:
        out: where the recording is kept; ``None``: ``Settings.recordings_dir``, or ``recordings``.
        local: keep the trace on this machine, regardless of the environment.
    """
    before = dict(os.environ)
    try:
        with ExitStack() as stack:
            yield _entered(stack, out, local)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _entered(stack: ExitStack, out: Path | None, local: bool) -> Destination:
    settings = Settings()
    config = LangSmithConfig.from_env()
    recordings = str(out) if out is not None else settings.recordings_dir or RECORDINGS_DIR
    if "://" not in recordings:  # absolute, so that the path printed at the end works in any folder
        recordings = os.path.abspath(os.path.expanduser(recordings))
    check_folder(recordings)
    os.environ["OTEL_REALTIME_RECORDINGS_DIR"] = recordings
    if not local:
        places = destinations(settings)
        if places:
            return Destination(name=" and ".join(places), recordings_dir=recordings)
    found = Destination(name="this machine", recordings_dir=recordings)
    if config.api_key and not local:
        found.notes.append(_NOT_TRACED)
    try:
        from otel_realtime.sandbox import Sandbox
    except ModuleNotFoundError:
        found.notes.append(_NO_SERVER)
        _keep_here(settings.state_dir, None)
        return found
    # The data folder of `otel-realtime sandbox`, which can show the conversation later.
    found.sandbox = stack.enter_context(Sandbox(data_dir=settings.state_dir / "sandbox"))
    _keep_here(settings.state_dir, found.sandbox.url)
    return found


def _keep_here(state_dir: Path, sandbox_url: str | None) -> None:
    for name in list(os.environ):
        # An OTLP endpoint would be a further destination, which --local rules out.
        if name.startswith((*_REPLACED, "OTEL_EXPORTER_OTLP")) or name in _CHOICES:
            del os.environ[name]
    # A separate folder, so that undelivered data of the user's own apps does not go to the sandbox.
    os.environ["OTEL_REALTIME_STATE_DIR"] = str(state_dir / "talk")
    os.environ["OTEL_REALTIME_LANGSMITH"] = "off" if sandbox_url is None else "direct"
    if sandbox_url is not None:
        os.environ["LANGSMITH_TRACING"] = "true"
        os.environ["LANGSMITH_ENDPOINT"] = sandbox_url
        os.environ["LANGSMITH_API_KEY"] = "sandbox"
        os.environ["LANGSMITH_PROJECT"] = PROJECT
