"""Settings: one frozen value, read once when a conversation opens.

Every field that is not a callable can also be set in the environment as
``OTEL_REALTIME_<FIELD>``. What the program says wins over the environment; a value of the
environment that does not parse is named in one log line and the default holds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Final, TypeVar

from otel_realtime.errors import ConfigError

logger = logging.getLogger(__name__)

T = TypeVar("T")
Redact = Callable[[dict[str, Any]], dict[str, Any]]
OnRecording = Callable[[Path, dict[str, Any]], None]

PREFIX: Final = "OTEL_REALTIME_"
GENAI_CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_warned: set[tuple[str, str]] = set()


def parse_bool(text: str) -> bool:
    """Read ``true``/``false`` (also 1/0, yes/no, on/off; any case).

    Raises:
        ValueError: the text is none of them.
    """
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("expected true or false")


def _parse_capture(text: str) -> bool:
    """The GenAI convention's switch; ``true`` is its older spelling.

    ``EVENT_ONLY`` hides: this package writes spans, not events.
    """
    word = text.strip().upper()
    if word in {"SPAN_ONLY", "SPAN_AND_EVENT"}:
        return True
    if word in {"NO_CONTENT", "EVENT_ONLY"}:
        return False
    return parse_bool(text)


def _parse_globs(text: str) -> tuple[str, ...]:
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        word = text.strip().lower()
        if word not in allowed:
            raise ValueError("expected one of " + ", ".join(allowed))
        return word

    return parse


def _number(kind: Callable[[str], T], *, above: float | None = None) -> Callable[[str], T]:
    def parse(text: str) -> T:
        value = kind(text.strip())
        if above is not None and not value >= above:  # type: ignore[operator]
            raise ValueError(f"expected a number from {above:g} up")
        return value

    return parse


def read_env(name: str, parse: Callable[[str], T], default: T) -> T:
    """Parse one environment variable; on a bad value say so once and keep the default."""
    text = os.environ.get(name)
    if text is None or not text.strip():
        return default
    try:
        return parse(text)
    except ValueError as error:
        if (name, text) not in _warned:
            _warned.add((name, text))
            logger.warning("%s=%r is ignored: %s; using %r", name, text, error, default)
        return default


def _env(name: str, parse: Callable[[str], T], default: T) -> Any:
    return field(default_factory=lambda: read_env(PREFIX + name, parse, default))


def _capture_content() -> bool:
    generic = read_env(GENAI_CAPTURE, _parse_capture, True)
    return read_env(PREFIX + "CAPTURE_CONTENT", parse_bool, generic)


def _default_state_dir() -> Path:
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else _home() / ".local" / "state") / "otel-realtime"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user id without an entry in the password file, and no HOME
        return Path(gettempdir()) / f"home-{os.getuid()}"


def _state_dir() -> Path:
    return read_env(PREFIX + "STATE_DIR", _parse_path, _default_state_dir())


def _parse_path(text: str) -> Path:
    try:
        return Path(text.strip()).expanduser()
    except RuntimeError as error:
        raise ValueError(str(error)) from error


_SKIPPED: Final[tuple[str, ...]] = ("ping",)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How conversations are traced and recorded; see the README's table.

    Raises:
        ConfigError: a value given by the program is out of its range.
    """

    langsmith: str = _env("LANGSMITH", _one_of("auto", "direct", "collector", "off"), "auto")
    """Who delivers to LangSmith: ``auto``, ``direct``, ``collector`` or ``off``."""
    capture_content: bool = field(default_factory=_capture_content)
    """False hides payloads, names, metadata, transcript, instructions and audio."""
    record_audio: bool = _env("RECORD_AUDIO", parse_bool, True)
    """False keeps the trace and drops the recording."""
    redact: Redact | None = None
    """Sees each payload (a dict) before anything is stored and returns what may be stored."""
    parent: str = _env("PARENT", _one_of("new", "ambient"), "new")
    """``new``: a trace per conversation, linked to the caller; ``ambient``: child of the caller."""
    activate_spans: bool = _env("ACTIVATE_SPANS", parse_bool, True)
    """Event spans are the current span while the app handles them."""
    skip_events: tuple[str, ...] = _env("SKIP_EVENTS", _parse_globs, _SKIPPED)
    """Globs of event types that never become spans."""
    span_limit: int = _env("SPAN_LIMIT", _number(int, above=1), 24_000)
    """Structural events beyond this many spans are counted only (LangSmith: 25,000 a trace)."""
    payload_limit: int = _env("PAYLOAD_LIMIT", _number(int, above=256), 32_768)
    """Characters of JSON per attribute; longer payloads are shortened and stay valid JSON."""
    metrics: bool = _env("METRICS", parse_bool, True)
    """OpenTelemetry metrics through the app's MeterProvider."""
    state_dir: Path = field(default_factory=_state_dir)
    """Where live and undelivered conversations stand on disk."""
    recover_on_start: bool = _env("RECOVER_ON_START", parse_bool, True)
    """Deliver in the background what dead processes left in ``state_dir``."""
    recordings_dir: str | None = _env("RECORDINGS_DIR", str, None)
    """Keep each recording as a WAV here too: a folder, or an fsspec URL (``s3://bucket/prefix``)."""
    on_recording: OnRecording | None = None
    """Called with ``(path, info)`` on a background thread when a recording is rendered.

    The file goes afterwards.
    """
    audio_format: str = _env("AUDIO_FORMAT", _one_of("auto", "wav", "flac", "opus"), "auto")
    """Of the attachment: ``wav``, ``flac``, ``opus``, or ``auto``, the first that fits."""
    max_attachment_mb: float | None = _env("MAX_ATTACHMENT_MB", _number(float, above=0), None)
    """Largest attachment; None: 180 on LangSmith's own hosts, 24 elsewhere."""
    state_max_mb: float = _env("STATE_MAX_MB", _number(float, above=1), 4096.0)
    """Disk the undelivered conversations may take."""
    state_max_age_days: float = _env("STATE_MAX_AGE_DAYS", _number(float, above=0), 14.0)
    """How long an undelivered conversation is kept."""
    exit_timeout_s: float = _env("EXIT_TIMEOUT_S", _number(float, above=0), 10.0)
    """Longest wait for delivery when the process exits."""
    end_on_sigterm: bool = _env("END_ON_SIGTERM", parse_bool, False)
    """End conversations on SIGTERM, then run the previous handler."""

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                msg = (
                    f"Settings.{name}={getattr(self, name)!r}: expected one of {', '.join(allowed)}"
                )
                raise ConfigError(msg)
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                msg = f"Settings.{name}={getattr(self, name)!r}: expected True or False"
                raise ConfigError(msg)
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if not isinstance(value, int | float) or not value >= least:
                msg = f"Settings.{name}={value!r}: expected a number from {least:g} up"
                raise ConfigError(msg)
        object.__setattr__(self, "state_dir", Path(self.state_dir).expanduser())
        if self.recordings_dir is not None:
            object.__setattr__(self, "recordings_dir", os.fspath(self.recordings_dir))
        globs = self.skip_events
        globs = _parse_globs(globs) if isinstance(globs, str) else tuple(globs)
        object.__setattr__(self, "skip_events", globs)


_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "langsmith": ("auto", "direct", "collector", "off"),
    "parent": ("new", "ambient"),
    "audio_format": ("auto", "wav", "flac", "opus"),
}
_SWITCHES: Final = (
    "capture_content",
    "record_audio",
    "activate_spans",
    "metrics",
    "recover_on_start",
    "end_on_sigterm",
)
_OPTIONAL: Final = ("max_attachment_mb",)
_LEAST: Final[Mapping[str, float]] = {
    "span_limit": 1,
    "payload_limit": 256,
    "exit_timeout_s": 0,
    "state_max_mb": 1,
    "state_max_age_days": 0,
    "max_attachment_mb": 0,
}
FIELDS: Final = tuple(item.name for item in fields(Settings))
