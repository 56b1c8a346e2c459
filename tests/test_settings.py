"""Settings: from the program, from the environment, within their range."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from otel_realtime import diagnostics
from otel_realtime import settings as module
from otel_realtime.core.protocol.interruptions import SHORTEST_SPEECH_MS
from otel_realtime.errors import ConfigError
from otel_realtime.settings import FIELDS, Settings, parse_bool

DEFAULTS: dict[str, Any] = {
    "langsmith": "auto",
    "capture_content": True,
    "record_audio": True,
    "redact": None,
    "redact_audio": False,
    "parent": "new",
    "activate_spans": True,
    "skip_events": ("ping",),
    "span_limit": 24_000,
    "payload_limit": 32_768,
    "metrics": True,
    "false_interruption_ms": SHORTEST_SPEECH_MS,
    "recover_on_start": True,
    "recordings_dir": None,
    "on_recording": None,
    "audio_format": "auto",
    "max_attachment_mb": None,
    "title": "fixed",
    "view_url": None,
    "state_max_mb": 4096.0,
    "state_max_age_days": 14.0,
    "deliver": "process",
    "exit_timeout_s": 10.0,
    "end_on_sigterm": False,
    "realtime_paths": (
        "*/realtime",
        "*/realtime/",
        "*/realtime/translations",
        "*/live/sessions*",
    ),
    "join_sockets_s": 60.0,
}

#: A value of the environment for every field that is no callable.
ENVIRONMENT: dict[str, tuple[str, Any]] = {
    "langsmith": ("Direct", "direct"),
    "capture_content": ("no", False),
    "record_audio": ("0", False),
    "redact_audio": ("on", True),
    "parent": ("ambient", "ambient"),
    "activate_spans": ("off", False),
    "skip_events": ("ping, response.content_part.*,", ("ping", "response.content_part.*")),
    "span_limit": ("100", 100),
    "payload_limit": ("1000", 1000),
    "metrics": ("FALSE", False),
    "false_interruption_ms": ("400", 400),
    "state_dir": ("/var/lib/calls", Path("/var/lib/calls")),
    "recover_on_start": ("false", False),
    "recordings_dir": ("/srv/wav", "/srv/wav"),
    "audio_format": ("flac", "flac"),
    "max_attachment_mb": ("12.5", 12.5),
    "title": ("First_Utterance", "first_utterance"),
    "view_url": (
        "http://127.0.0.1:8321/conversations/{run_id}",
        "http://127.0.0.1:8321/conversations/{run_id}",
    ),
    "state_max_mb": ("10", 10.0),
    "state_max_age_days": ("0.5", 0.5),
    "deliver": ("worker", "worker"),
    "exit_timeout_s": ("0", 0.0),
    "end_on_sigterm": ("yes", True),
    "realtime_paths": ("/gateway/voice, */realtime", ("/gateway/voice", "*/realtime")),
    "join_sockets_s": ("0", 0.0),
}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine's, and nothing said yet."""
    for name in FIELDS:
        monkeypatch.delenv(module.PREFIX + name.upper(), raising=False)
    monkeypatch.delenv(module.GENAI_CAPTURE, raising=False)
    diagnostics.REGISTER.clear()


def test_defaults() -> None:
    """What holds when nobody says anything."""
    found = Settings()
    assert DEFAULTS == {name: getattr(found, name) for name in DEFAULTS}
    assert set(FIELDS) == {*DEFAULTS, "state_dir"}


def test_every_field_but_callables_has_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named after it; the values parse to the field's type."""
    assert set(FIELDS) - {"redact", "on_recording"} == ENVIRONMENT.keys()
    for name, (text, _) in ENVIRONMENT.items():
        monkeypatch.setenv(module.PREFIX + name.upper(), text)
    found = Settings()
    for name, (_, expected) in ENVIRONMENT.items():
        value = getattr(found, name)
        assert (name, expected, type(expected)) == (name, value, type(value))


def test_what_the_program_says_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over any variable."""
    monkeypatch.setenv("OTEL_REALTIME_SPAN_LIMIT", "100")
    monkeypatch.setenv("OTEL_REALTIME_CAPTURE_CONTENT", "false")
    found = Settings(span_limit=7, capture_content=True)
    assert (7, True) == (found.span_limit, found.capture_content)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SPAN_LIMIT", "many"),
        ("SPAN_LIMIT", "0"),
        ("PAYLOAD_LIMIT", "12"),
        ("METRICS", "maybe"),
        ("LANGSMITH", "sometimes"),
        ("STATE_MAX_MB", "nan"),
        ("EXIT_TIMEOUT_S", "-1"),
    ],
)
def test_a_value_that_does_not_parse_is_named_once(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In one log line, and the default holds."""
    monkeypatch.setenv(module.PREFIX + name, text)
    with caplog.at_level(logging.WARNING):
        Settings()
        found = Settings()
    (record,) = caplog.records
    assert f"ignoring {module.PREFIX}{name}={text!r}:" in record.getMessage()
    assert DEFAULTS[name.lower()] == getattr(found, name.lower())


def test_an_empty_variable_says_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a compose file that passes variables through."""
    monkeypatch.setenv("OTEL_REALTIME_SPAN_LIMIT", " ")
    assert DEFAULTS["span_limit"] == Settings().span_limit
    assert [] == caplog.records


@pytest.mark.parametrize(
    ("ours", "generic", "expected"),
    [
        (None, None, True),
        (None, "true", True),
        (None, "span_only", True),
        (None, "SPAN_AND_EVENT", True),
        (None, "false", False),
        (None, "NO_CONTENT", False),
        (None, "EVENT_ONLY", False),
        (None, "what", True),
        ("true", "NO_CONTENT", True),
        ("false", "SPAN_ONLY", False),
    ],
)
def test_the_most_specific_content_switch_wins(
    ours: str | None, generic: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours, then the convention's, then captured."""
    for name, text in (("OTEL_REALTIME_CAPTURE_CONTENT", ours), (module.GENAI_CAPTURE, generic)):
        if text is not None:
            monkeypatch.setenv(name, text)
    assert expected == Settings().capture_content
    assert Settings(capture_content=True).capture_content
    assert not Settings(capture_content=False).capture_content


@pytest.mark.parametrize(
    "given",
    [
        {"langsmith": "on"},
        {"parent": "old"},
        {"audio_format": "mp3"},
        {"span_limit": 0},
        {"span_limit": "7"},
        {"span_limit": None},
        {"payload_limit": 255},
        {"exit_timeout_s": float("nan")},
        {"state_max_mb": 0},
        {"max_attachment_mb": -1},
        {"capture_content": "false"},
        {"record_audio": None},
        {"metrics": 0},
        {"skip_events": None},
        {"realtime_paths": (1,)},
    ],
)
def test_a_value_out_of_its_range_is_refused(given: dict[str, Any]) -> None:
    """By an error that names the field and the value."""
    (name,) = given
    with pytest.raises(ConfigError, match=f"Settings.{name}="):
        Settings(**given)


def test_globs_and_paths_may_be_given_as_they_come() -> None:
    """A text, a list, a path as text: settings stay hashable and of one type."""
    assert ("ping", "x.*") == Settings(skip_events="ping, x.*").skip_events  # type: ignore[arg-type]
    globs: Any = ["ping"]
    assert ("ping",) == Settings(skip_events=globs).skip_events
    path: Any = "~/calls"
    assert Path.home() / "calls" == Settings(state_dir=path).state_dir
    hash(Settings())


def test_the_state_directory_follows_the_desktop_standard(monkeypatch: pytest.MonkeyPatch) -> None:
    """``XDG_STATE_HOME``, else below the home directory."""
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert Path("/state/otel-realtime") == Settings().state_dir
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert Path("/home/me/.local/state/otel-realtime") == Settings().state_dir


def test_a_user_without_a_home_has_a_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers run with user ids that no password file knows."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert Settings().state_dir.is_absolute()


@pytest.mark.parametrize("text", ["1", "true", "Yes", " ON "])
def test_words_for_true(text: str) -> None:
    """Any case, with spaces around."""
    assert parse_bool(text)


@pytest.mark.parametrize("text", ["0", "false", "No", " OFF "])
def test_words_for_false(text: str) -> None:
    """Any case, with spaces around."""
    assert not parse_bool(text)


def test_other_words_are_neither() -> None:
    """Also the empty one."""
    for text in ("", "2", "y", "wahr"):
        with pytest.raises(ValueError):
            parse_bool(text)


def test_recordings_dir_may_be_a_path(tmp_path: Path) -> None:
    """Text inside, whatever the app gave: it may be a URL as well."""
    folder: Any = tmp_path / "kept"
    assert str(folder) == Settings(recordings_dir=folder).recordings_dir
    assert "s3://a/b" == Settings(recordings_dir="s3://a/b").recordings_dir


def test_a_conversation_keeps_what_holds_for_the_process(caplog: pytest.LogCaptureFixture) -> None:
    """The rest is its own; what it may not change is named once."""
    process = Settings(exit_timeout_s=20)
    for _ in range(2):
        own = Settings(exit_timeout_s=3, span_limit=7).within(process)
    assert (20, 7) == (own.exit_timeout_s, own.span_limit)
    (message,) = caplog.messages
    assert "ignoring exit_timeout_s in conversation(settings=...)" in message


def test_a_default_that_differs_from_the_process_is_no_mistake(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The program said it where it belongs, and nothing about it here."""
    process = Settings(exit_timeout_s=20, deliver="worker")
    own = Settings(record_audio=False).within(process)
    assert (20, "worker", False) == (own.exit_timeout_s, own.deliver, own.record_audio)
    assert [] == caplog.messages
