"""Settings: one frozen value, read once when a conversation opens.

Every field that is not a callable can also be set in the environment as
``OTEL_REALTIME_<FIELD>``. What the program says wins over the environment; a value of the
environment that does not parse is named in one log line and the default holds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Final, Literal, TypeVar, get_args

from otel_realtime.diagnostics import warn_once
from otel_realtime.errors import ConfigError

logger = logging.getLogger(__name__)

T = TypeVar("T")
Redact = Callable[[dict[str, Any]], dict[str, Any]]
OnRecording = Callable[[Path, dict[str, Any]], None]

PREFIX: Final = "OTEL_REALTIME_"
GENAI_CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


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


def read_env(name: str, parse: Callable[[str], T], default: T) -> T:
    """Parse one environment variable; on a bad value say so once and keep the default."""
    text = os.environ.get(name)
    if text is None or not text.strip():
        return default
    try:
        return parse(text)
    except ValueError as error:
        warn_once(
            ("env", name, text),
            "%s=%r is ignored: %s; using %r",
            name,
            text,
            error,
            default,
            log=logger,
        )
        return default


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a field may be: one row of the bounds below."""

    kind: type = str
    choices: tuple[str, ...] = ()
    least: float | None = None
    optional: bool = False

    def parse(self, text: str) -> Any:
        """Read the environment's text.

        Raises:
            ValueError: it is out of bounds.
        """
        word = text.strip()
        value: Any
        if self.kind is bool:
            value = parse_bool(word)
        elif self.choices:
            value = word.lower()
        else:
            value = self.kind(word)
        problem = self.problem(value)
        if problem is not None:
            raise ValueError(problem)
        return value

    def problem(self, value: object) -> str | None:
        """Say what is wrong with a value; None if nothing is."""
        if value is None and self.optional:
            return None
        if self.choices:
            return None if value in self.choices else "expected one of " + ", ".join(self.choices)
        if self.kind is bool:
            return None if isinstance(value, bool) else "expected True or False"
        if self.least is not None:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not value >= self.least:  # type: ignore[operator]
                return f"expected a number from {self.least:g} up"
        return None


LangSmithMode = Literal["auto", "direct", "collector", "off"]
ParentMode = Literal["new", "ambient"]
AudioFormatName = Literal["auto", "wav", "flac", "opus"]

#: The bounds of every field that has any, whoever sets it.
RULES: Final[Mapping[str, _Rule]] = {
    "langsmith": _Rule(choices=get_args(LangSmithMode)),
    "parent": _Rule(choices=get_args(ParentMode)),
    "audio_format": _Rule(choices=get_args(AudioFormatName)),
    "capture_content": _Rule(bool),
    "record_audio": _Rule(bool),
    "activate_spans": _Rule(bool),
    "metrics": _Rule(bool),
    "recover_on_start": _Rule(bool),
    "end_on_sigterm": _Rule(bool),
    "span_limit": _Rule(int, least=1),
    "payload_limit": _Rule(int, least=256),
    "max_attachment_mb": _Rule(float, least=0, optional=True),
    "state_max_mb": _Rule(float, least=1),
    "state_max_age_days": _Rule(float, least=0),
    "exit_timeout_s": _Rule(float, least=0),
}
#: Fields that hold for the process; a conversation cannot have its own.
PROCESS_FIELDS: Final = (
    "recover_on_start",
    "state_max_mb",
    "state_max_age_days",
    "exit_timeout_s",
    "end_on_sigterm",
)


def _env(name: str, default: Any, parse: Callable[[str], Any] | None = None) -> Any:
    rule = RULES.get(name.lower())
    parse = parse or (rule.parse if rule is not None else str)
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

    Added in 0.1.0.
    """

    langsmith: LangSmithMode = _env("LANGSMITH", "auto")  # noqa: RUF009
    """Who delivers to LangSmith: ``auto``, ``direct``, ``collector`` or ``off``."""
    capture_content: bool = field(default_factory=_capture_content)
    """False hides payloads, names, metadata, transcript, instructions and audio."""
    record_audio: bool = _env("RECORD_AUDIO", True)
    """False keeps the trace and drops the recording."""
    redact: Redact | None = None
    """Sees each payload (a dict) before anything is stored and returns what may be stored."""
    parent: ParentMode = _env("PARENT", "new")  # noqa: RUF009
    """``new``: a trace per conversation, linked to the caller; ``ambient``: child of the caller."""
    activate_spans: bool = _env("ACTIVATE_SPANS", True)
    """Event spans are the current span while the app handles them."""
    skip_events: tuple[str, ...] = _env("SKIP_EVENTS", _SKIPPED, _parse_globs)
    """Globs of event types that never become spans."""
    span_limit: int = _env("SPAN_LIMIT", 24_000)
    """Structural events beyond this many spans are counted only (LangSmith: 25,000 a trace)."""
    payload_limit: int = _env("PAYLOAD_LIMIT", 32_768)
    """Characters of JSON per attribute; longer payloads are shortened and stay valid JSON."""
    metrics: bool = _env("METRICS", True)
    """OpenTelemetry metrics through the app's MeterProvider."""
    state_dir: Path = field(default_factory=_state_dir)
    """Where live and undelivered conversations stand on disk."""
    recover_on_start: bool = _env("RECOVER_ON_START", True)
    """Deliver in the background what dead processes left in ``state_dir``."""
    recordings_dir: str | None = _env("RECORDINGS_DIR", None)
    """Keep each recording as a WAV here too: a folder, or an fsspec URL (``s3://bucket/prefix``)."""
    on_recording: OnRecording | None = None
    """Called with ``(path, info)`` on a background thread when a recording is rendered.

    The file goes afterwards.
    """
    audio_format: AudioFormatName = _env("AUDIO_FORMAT", "auto")  # noqa: RUF009
    """Of the attachment: ``wav``, ``flac``, ``opus``, or ``auto``, the first that fits."""
    max_attachment_mb: float | None = _env("MAX_ATTACHMENT_MB", None)
    """Largest attachment; None: 180 on LangSmith's own hosts, 24 elsewhere."""
    state_max_mb: float = _env("STATE_MAX_MB", 4096.0)
    """Disk the undelivered conversations may take."""
    state_max_age_days: float = _env("STATE_MAX_AGE_DAYS", 14.0)
    """How long an undelivered conversation is kept."""
    exit_timeout_s: float = _env("EXIT_TIMEOUT_S", 10.0)
    """Longest wait for delivery when the process exits."""
    end_on_sigterm: bool = _env("END_ON_SIGTERM", False)
    """End conversations on SIGTERM, then run the previous handler."""

    def __post_init__(self) -> None:
        for name, rule in RULES.items():
            problem = rule.problem(getattr(self, name))
            if problem is not None:
                raise ConfigError(f"Settings.{name}={getattr(self, name)!r}: {problem}")
        object.__setattr__(self, "state_dir", Path(self.state_dir).expanduser())
        if self.recordings_dir is not None:
            object.__setattr__(self, "recordings_dir", os.fspath(self.recordings_dir))
        globs = self.skip_events
        globs = _parse_globs(globs) if isinstance(globs, str) else tuple(globs)
        object.__setattr__(self, "skip_events", globs)

    def within(self, process: Settings) -> Settings:
        """Return these settings of a conversation with what holds for the process taken from there.

        What differs is refused with one warning for each set of fields.

        Args:
            process: ``instrument()``'s settings, else the environment's.
        """
        theirs = {name: getattr(process, name) for name in PROCESS_FIELDS}
        refused = [name for name, value in theirs.items() if getattr(self, name) != value]
        if not refused:
            return self
        warn_once(
            ("scope", *refused),
            "conversation(settings=...): %s holds for the whole process and is ignored here; "
            "give it to instrument()",
            ", ".join(refused),
            log=logger,
        )
        return replace(self, **theirs)


FIELDS: Final = tuple(item.name for item in fields(Settings))
