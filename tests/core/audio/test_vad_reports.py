"""Where the server's VAD says that the user speaks; positions in ms of the audio."""

from __future__ import annotations

from otel_realtime.core.audio.vad_reports import VadReports

MS = 1_000_000


def speech(reports: VadReports) -> list[tuple[float | None, float | None]]:
    """Where the utterances begin and end, in ms."""
    return [
        tuple(None if at is None else at / MS for at in report.speech)  # type: ignore[misc]
        for report in reports.reports
    ]


def test_the_padding_is_no_speech() -> None:
    """300 ms before and 500 ms after, as the session says."""
    reports = VadReports()
    reports.started("item_1", 1_460 * MS, 300)
    assert [(1_760, None)] == speech(reports)
    reports.stopped("item_1", 4_560 * MS, 500)
    reports.committed(4_600 * MS)
    assert [(1_760, 4_060)] == speech(reports)
    assert [] == reports.unheard
    assert [(0, None)] == reports.silent_from


def test_unknown_padding_is_not_guessed() -> None:
    """Semantic VAD, the very beginning of the audio, and times that cannot be."""
    reports = VadReports()
    reports.started("semantic", 1_000 * MS, None)
    reports.stopped("semantic", 3_000 * MS, None)
    reports.started("first", 0, 300)
    reports.stopped("first", 900 * MS, 200)
    reports.started("odd", 5_000 * MS, 300)
    reports.stopped("odd", 5_600 * MS, 500)
    assert [(None, None), (None, 700), (None, None)] == speech(reports)


def test_an_item_without_a_report_may_be_speech() -> None:
    """What was appended for it since the item before; the client commits it by hand, say."""
    reports = VadReports()
    reports.started("item_1", 1_000 * MS, 300)
    reports.stopped("item_1", 2_000 * MS, 500)
    reports.committed(2_100 * MS)
    reports.committed(4_000 * MS)
    reports.committed(4_000 * MS)
    assert [(2_100 * MS, 4_000 * MS)] == reports.unheard


def test_a_commit_ends_what_has_not_ended() -> None:
    """Where the client cuts in, the utterance goes on to there."""
    reports = VadReports()
    reports.started(None, 1_000 * MS, 300)
    reports.committed(3_000 * MS)
    assert [(3_000 * MS)] == [report.end_ns for report in reports.reports]
    assert [] == reports.unheard


def test_speech_that_is_named_again_is_the_same() -> None:
    """A VAD may hear the same item begin once more."""
    reports = VadReports()
    reports.started("item_1", 1_000 * MS, 300)
    reports.started("item_1", 2_000 * MS, 300)
    reports.stopped("other", 3_000 * MS, 500)
    assert [(1_300, None)] == speech(reports)
    assert reports.of("item_1") is reports.reports[0]
    assert None is reports.of("other")


def test_silence_counts_by_session() -> None:
    """In a session without reports nobody knows whether its server listens."""
    reports = VadReports()
    reports.reset(10_000 * MS)
    reports.started("item_1", 1_000 * MS, 300)
    reports.reset(20_000 * MS)
    reports.reset(30_000 * MS)
    reports.started("item_2", 1_000 * MS, 300)
    assert [(10_000 * MS, 20_000 * MS), (30_000 * MS, None)] == reports.silent_from
