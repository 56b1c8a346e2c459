"""The register of faults, losses and warnings."""

from __future__ import annotations

import logging

import pytest

from otel_realtime import diagnostics
from otel_realtime.diagnostics import (
    MAX_KEYS,
    fault,
    logger_of,
    lose,
    lost,
    overheard,
    report,
    walled,
    warn_again,
    warn_once,
)


@pytest.fixture(autouse=True)
def _forgotten() -> object:
    """What a test reports is gone with it."""
    yield
    diagnostics.REGISTER.clear()


@pytest.fixture
def _in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "RAISE", False)


@pytest.mark.usefixtures("_in_production")
def test_a_fault_is_counted_and_logged_once_per_kind(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the first one's traceback; the metric has all."""
    for error in (ValueError("a"), ValueError("b"), KeyError("c")):
        fault("received", error)
    assert {"received: ValueError": 2, "received: KeyError": 1} == diagnostics.faults()
    assert 3 == lost()["fault"]
    assert 2 == len(caplog.records)
    assert all(record.exc_info for record in caplog.records)


def test_faults_are_raised_in_tests() -> None:
    """A defect must not hide; a report from the background cannot be raised."""
    with pytest.raises(ValueError, match="a"):
        fault("received", ValueError("a"))
    report("writing", ValueError("a"))
    assert {"received: ValueError": 1, "writing: ValueError": 1} == diagnostics.faults()


@pytest.mark.usefixtures("_in_production")
def test_the_wall_returns_none_and_lets_interrupts_through() -> None:
    """Our faults stay with us; what ends the app is the app's."""

    @walled
    def broken(error: BaseException) -> int:
        """Raise."""
        raise error

    assert broken(ValueError()) is None
    assert "broken" in broken.__qualname__
    with pytest.raises(KeyboardInterrupt):
        broken(KeyboardInterrupt())


def test_losses_add_up() -> None:
    """Nothing is counted for nothing."""
    lose(diagnostics.SPAN)
    lose(diagnostics.SPAN, 4)
    lose(diagnostics.AUDIO, 0)
    assert {"span": 5} == lost()


def test_a_warning_is_logged_once_per_key(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever its text says; after ``warn_again`` once more."""
    for number in range(3):
        warn_once("outage", "no answer (%d)", number)
    warn_once("other", "another")
    warn_again("outage")
    warn_once("outage", "no answer again", log=logging.getLogger("x"), level=logging.ERROR)
    assert ["no answer (0)", "another", "no answer again"] == caplog.messages
    assert ("x", logging.ERROR) == (caplog.records[-1].name, caplog.records[-1].levelno)


def test_warnings_can_be_overheard(caplog: pytest.LogCaptureFixture) -> None:
    """Whether they were said before or not, without credentials; nothing is logged or counts as said."""
    warn_once("said", "before")
    with overheard() as heard:
        warn_once("said", "again")
        warn_once(("new", 1), "with %s", "sk-abcdefghijklmnop1234")
    assert [("said", "again"), (("new", 1), "with [secret]")] == [(s.key, s.text) for s in heard]
    warn_once(("new", 1), "and logged")
    assert ["before", "and logged"] == caplog.messages


def test_keys_are_bounded() -> None:
    """A register never grows with the life of a process."""
    for number in range(MAX_KEYS + 10):
        warn_once(("key", number), "text")
    assert MAX_KEYS == len(diagnostics.REGISTER._warned)


def test_no_credential_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither in a message, nor in its arguments, nor in a traceback, whoever formats it."""
    log = logger_of("otel_realtime.planted")
    try:
        raise ValueError("refused: Authorization: Bearer hunter2-QXJ5")
    except ValueError as error:
        log.warning("cannot reach %s: %s", "https://me:hunter2@host/x?token=hunter2", error)
        log.exception("it said %r", {"apiKey": "hunter2"})
    assert "hunter2" not in caplog.text
    assert "cannot reach https://[secret]@host/x: refused" in caplog.text
    assert "ValueError: refused" in caplog.text
    assert not any("hunter2" in str(vars(record)) for record in caplog.records)


def test_a_traceback_without_credentials_stays_an_exception(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Handlers of other libraries report it as one."""
    try:
        raise ValueError("nothing to hide")
    except ValueError:
        logger_of("otel_realtime.planted").exception("it failed with %d", 5)
    (record,) = caplog.records
    assert ("it failed with %d", (5,)) == (record.msg, record.args)
    assert record.exc_info


def test_an_argument_that_cannot_be_shown_raises_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logging itself says so, and only where it is told to."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger = logger_of("otel_realtime.planted")
    monkeypatch.setattr(logger, "propagate", False)
    logger.warning("%d", "no number")
    assert not caplog.records
