"""Settings: one frozen value, read when a conversation opens.

Every field that is not a callable can also be set in the environment as ``OTEL_REALTIME_<FIELD>``.
A value given in code takes precedence. If an environment variable does not parse, one log line
reports it and the default applies, as for OpenTelemetry's own variables:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Final, Literal, TypeVar, get_args

from otel_realtime.diagnostics import logger_of, warn_once
from otel_realtime.errors import ConfigError

logger = logger_of(__name__)

T = TypeVar("T")
Redact = Callable[[dict[str, Any]], dict[str, Any]]
OnRecording = Callable[[Path, dict[str, Any]], None]

PREFIX: Final = "OTEL_REALTIME_"
#: OpenTelemetry's switch for all GenAI instrumentations:
#: https://github.com/open-telemetry/opentelemetry-python-genai
GENAI_CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def parse_bool(text: str) -> bool:
    """Parse ``true``/``false`` (also 1/0, yes/no, on/off; case-insensitive).

    Raises:
        ValueError: ``text`` is none of these.
    """
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("expected true or false")


def _parse_capture(text: str) -> bool:
    """Parse the GenAI content switch; return whether spans may carry content.

    ``EVENT_ONLY`` allows content in log events only, but this package writes spans. ``true`` and
    ``false`` are the values that earlier instrumentations used.

    Raises:
        ValueError: ``text`` is not a value of the switch.
    """
    word = text.strip().upper()
    if word in {"SPAN_ONLY", "SPAN_AND_EVENT"}:
        return True
    if word in {"NO_CONTENT", "EVENT_ONLY"}:
        return False
    return parse_bool(text)


def _parse_globs(text: str) -> tuple[str, ...]:
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)


def _globs(name: str, given: Any) -> tuple[str, ...]:
    """Return the globs of a field, which may also be one comma-separated string, as in the environment."""
    if isinstance(given, str):
        return _parse_globs(given)
    if isinstance(given, Iterable):
        globs = tuple(given)
        if all(isinstance(glob, str) for glob in globs):
            return globs
    raise ConfigError(f"Settings.{name}={given!r}: expected texts")


def read_env(name: str, parse: Callable[[str], T], default: T) -> T:
    """Parse one environment variable.

    Returns:
        The parsed value; ``default`` if the variable is unset or empty, or, with one warning, if
        its value does not parse.
    """
    text = os.environ.get(name)
    if text is None or not text.strip():
        return default
    try:
        return parse(text)
    except ValueError as error:
        warn_once(
            ("env", name, text),
            "ignoring %s=%r: %s; using the default, %r",
            name,
            text,
            error,
            default,
            log=logger,
        )
        return default


@dataclass(frozen=True, slots=True)
class _Rule:
    """The values a field accepts.

    Attributes:
        kind: type of the value.
        choices: accepted strings; empty if any string is accepted.
        minimum: lower bound of a number, inclusive.
        optional: whether ``None`` is also accepted.
    """

    kind: type = str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    optional: bool = False

    def parse(self, text: str) -> Any:
        """Parse the text of an environment variable.

        Raises:
            ValueError: the value is not accepted.
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
        """Return why a value is not accepted, or ``None`` if it is accepted."""
        if value is None and self.optional:
            return None
        if self.choices:
            return None if value in self.choices else "expected one of " + ", ".join(self.choices)
        if self.kind is bool:
            return None if isinstance(value, bool) else "expected True or False"
        if self.minimum is not None:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not value >= self.minimum:  # type: ignore[operator]  # also false for NaN
                return f"expected a number of at least {self.minimum:g}"
        return None


LangSmithMode = Literal["auto", "direct", "collector", "off"]
ParentMode = Literal["new", "ambient"]
TitleMode = Literal["fixed", "first_utterance"]
AudioFormatName = Literal["auto", "wav", "flac", "opus"]
DeliverMode = Literal["process", "worker"]

#: Accepted values, from code and from the environment; fields that are not listed are not checked here.
RULES: Final[Mapping[str, _Rule]] = {
    "langsmith": _Rule(choices=get_args(LangSmithMode)),
    "parent": _Rule(choices=get_args(ParentMode)),
    "title": _Rule(choices=get_args(TitleMode)),
    "audio_format": _Rule(choices=get_args(AudioFormatName)),
    "deliver": _Rule(choices=get_args(DeliverMode)),
    "capture_content": _Rule(bool),
    "record_audio": _Rule(bool),
    "redact_audio": _Rule(bool),
    "activate_spans": _Rule(bool),
    "metrics": _Rule(bool),
    "recover_on_start": _Rule(bool),
    "end_on_sigterm": _Rule(bool),
    "span_limit": _Rule(int, minimum=1),
    "payload_limit": _Rule(int, minimum=256),
    "false_interruption_ms": _Rule(int, minimum=0),
    "max_attachment_mb": _Rule(float, minimum=0, optional=True),
    "state_max_mb": _Rule(float, minimum=1),
    "state_max_age_days": _Rule(float, minimum=0),
    "exit_timeout_s": _Rule(float, minimum=0),
    "join_sockets_s": _Rule(float, minimum=0),
}
#: Fields that apply to the whole process; ``conversation(settings=...)`` cannot override them.
PROCESS_FIELDS: Final = (
    "deliver",
    "recover_on_start",
    "state_max_mb",
    "state_max_age_days",
    "exit_timeout_s",
    "end_on_sigterm",
    "realtime_paths",
)


# ``Any`` as the type of ``default`` and of the result: ``field()`` stands for a value of any type.
def _env(name: str, default: Any, parse: Callable[[str], Any] | None = None) -> Any:
    """Return a dataclass field whose default is read from ``OTEL_REALTIME_<name>``."""
    rule = RULES.get(name.lower())
    parse = parse or (rule.parse if rule is not None else str)
    return field(default_factory=lambda: read_env(PREFIX + name, parse, default))


def _capture_content() -> bool:
    generic = read_env(GENAI_CAPTURE, _parse_capture, True)
    return read_env(PREFIX + "CAPTURE_CONTENT", parse_bool, generic)


def _default_state_dir() -> Path:
    # https://specifications.freedesktop.org/basedir-spec/latest/
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else _home() / ".local" / "state") / "otel-realtime"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # neither HOME nor a passwd entry, as for an arbitrary uid in a container
        return Path(gettempdir()) / f"home-{os.getuid()}"


def _state_dir() -> Path:
    return read_env(PREFIX + "STATE_DIR", _parse_path, _default_state_dir())


def _parse_path(text: str) -> Path:
    try:
        return Path(text.strip()).expanduser()
    except RuntimeError as error:  # ``~user`` without such a user
        raise ValueError(str(error)) from error


_SKIPPED: Final[tuple[str, ...]] = ("ping",)
#: OpenAI, Azure, translations, Live sessions, and servers that imitate them.
_REALTIME_PATHS: Final = (
    "*/realtime",
    "*/realtime/",
    "*/realtime/translations",
    "*/live/sessions*",
)
_GLOBS: Final = ("skip_events", "realtime_paths")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How conversations are traced and recorded; ``.github/docs/operating.md`` has a table of the fields.

    Raises:
        ConfigError: a value given in code is not accepted.

    Added in 0.1.0.
    """

    langsmith: LangSmithMode = _env("LANGSMITH", "auto")  # noqa: RUF009
    """Who delivers to LangSmith: ``auto``, ``direct``, ``collector`` or ``off``."""
    capture_content: bool = field(default_factory=_capture_content)
    """``False`` hides payloads, names, metadata, transcript, instructions and audio."""
    record_audio: bool = _env("RECORD_AUDIO", True)
    """``False`` traces conversations without recording their audio."""
    redact: Redact | None = None
    """Called with each payload (a dict) before it is stored; returns the payload to store."""
    redact_audio: bool = _env("REDACT_AUDIO", False)
    """Also silence in the recording the spoken words that ``redact`` changes."""
    parent: ParentMode = _env("PARENT", "new")  # noqa: RUF009
    """``new``: a trace per conversation, linked to the caller's span; ``ambient``: a child of that span."""
    activate_spans: bool = _env("ACTIVATE_SPANS", True)
    """Make an event's span the current span while the app handles the event."""
    skip_events: tuple[str, ...] = _env("SKIP_EVENTS", _SKIPPED, _parse_globs)
    """Globs of event types that never become spans."""
    span_limit: int = _env("SPAN_LIMIT", 24_000)
    """Maximum number of spans in a trace; further events are only counted. LangSmith accepts 25,000 runs.

    https://docs.langchain.com/langsmith/observability-concepts
    """
    payload_limit: int = _env("PAYLOAD_LIMIT", 32_768)
    """Maximum characters of JSON per attribute; longer payloads are shortened and stay valid JSON."""
    metrics: bool = _env("METRICS", True)
    """Report OpenTelemetry metrics through the app's ``MeterProvider``."""
    false_interruption_ms: int = _env("FALSE_INTERRUPTION_MS", 250)
    """Speech shorter than this, in ms, says nothing; an answer that it stops is a false interruption.

    Speech of several transcribed words always counts.
    """
    state_dir: Path = field(default_factory=_state_dir)
    """Directory for live and undelivered conversations."""
    recover_on_start: bool = _env("RECOVER_ON_START", True)
    """Deliver, in the background, what dead processes left in ``state_dir``."""
    recordings_dir: str | None = _env("RECORDINGS_DIR", None)
    """Also keep each recording as a WAV file here: a folder or an fsspec URL (``s3://bucket/prefix``)."""
    on_recording: OnRecording | None = None
    """Called with ``(path, info)`` on a background thread when a recording has been rendered.

    The file is deleted afterwards.
    """
    audio_format: AudioFormatName = _env("AUDIO_FORMAT", "auto")  # noqa: RUF009
    """Format of the attachment: ``wav``, ``flac``, ``opus``, or ``auto`` for the first that fits."""
    max_attachment_mb: float | None = _env("MAX_ATTACHMENT_MB", None)
    """Maximum size of the attachment in MB; ``None`` means 180 on LangSmith's own hosts, 24 elsewhere."""
    title: TitleMode = _env("TITLE", "fixed")  # noqa: RUF009
    """Name of the root run in LangSmith: ``fixed``, or ``first_utterance`` (the caller's first words).

    The OTel span always keeps the fixed name, and so does the run if inputs are hidden.
    """
    view_url: str | None = _env("VIEW_URL", None)
    """Template for the URL of a page that shows the conversation; the URL is an attribute of the root.

    It contains ``{run_id}``, ``{trace_id}``, ``{span_id}`` or ``{thread_id}``.
    """
    state_max_mb: float = _env("STATE_MAX_MB", 4096.0)
    """Maximum disk space for conversations, including live ones, in MB."""
    state_max_age_days: float = _env("STATE_MAX_AGE_DAYS", 14.0)
    """Number of days an undelivered conversation is kept."""
    deliver: DeliverMode = _env("DELIVER", "process")  # noqa: RUF009
    """Who delivers what this package delivers itself: ``process`` or ``worker``.

    With ``worker`` this process only writes to ``state_dir``, and an ``otel-realtime recover --watch``
    process on the same directory delivers.
    """
    exit_timeout_s: float = _env("EXIT_TIMEOUT_S", 10.0)
    """Longest wait for delivery when the process exits, in seconds."""
    end_on_sigterm: bool = _env("END_ON_SIGTERM", False)
    """End conversations on SIGTERM, then call the previous handler."""
    realtime_paths: tuple[str, ...] = _env("REALTIME_PATHS", _REALTIME_PATHS, _parse_globs)
    """Globs for the request paths (without the query) of websockets that speak the Realtime protocol."""
    join_sockets_s: float = _env("JOIN_SOCKETS_S", 60.0)
    """Seconds after a socket closes in which another may continue its conversation; 0 means never."""

    def __post_init__(self) -> None:
        for name, rule in RULES.items():
            problem = rule.problem(getattr(self, name))
            if problem is not None:
                raise ConfigError(f"Settings.{name}={getattr(self, name)!r}: {problem}")
        # ``object.__setattr__`` because the dataclass is frozen.
        try:
            state_dir = Path(self.state_dir).expanduser()
        except RuntimeError as error:  # ``~user`` without such a user
            raise ConfigError(f"Settings.state_dir={str(self.state_dir)!r}: {error}") from error
        object.__setattr__(self, "state_dir", state_dir)
        if self.recordings_dir is not None:
            object.__setattr__(self, "recordings_dir", os.fspath(self.recordings_dir))
        for name in _GLOBS:
            object.__setattr__(self, name, _globs(name, getattr(self, name)))

    def within(self, process: Settings) -> Settings:
        """Return these settings of a conversation with ``PROCESS_FIELDS`` taken from the process.

        A value that differs from the process's is ignored, with one warning per set of fields. If it
        is the field's default, nobody set it, so it is ignored without a warning.

        Args:
            process: the settings given to ``instrument()``, else the environment's.
        """
        theirs = {name: getattr(process, name) for name in PROCESS_FIELDS}
        differing = [name for name, value in theirs.items() if getattr(self, name) != value]
        if not differing:
            return self
        default = Settings()
        refused = [name for name in differing if getattr(self, name) != getattr(default, name)]
        if refused:
            warn_once(
                ("scope", *refused),
                "ignoring %s in conversation(settings=...): it applies to the whole process; pass it "
                "to instrument(settings=...)",
                ", ".join(refused),
                log=logger,
            )
        return replace(self, **theirs)


def realtime_paths(given: Settings | None) -> tuple[str, ...]:
    """Return ``Settings.realtime_paths``; called for each handshake, so it reads no other variable.

    Args:
        given: settings of the process; ``None`` means the environment's.
    """
    if given is not None:
        return given.realtime_paths
    return read_env(PREFIX + "REALTIME_PATHS", _parse_globs, _REALTIME_PATHS)


#: Names of all fields.
FIELDS: Final = tuple(item.name for item in fields(Settings))
