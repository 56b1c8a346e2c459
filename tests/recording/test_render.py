"""The recording, sample by sample."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import wave
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import wavinfo

from otel_realtime.core.audio import timeline
from otel_realtime.core.audio.redactions import Stretch
from otel_realtime.errors import RecordingError
from otel_realtime.recording.about import About, Mark
from otel_realtime.recording.chunks import WAV_HEADER
from otel_realtime.recording.render import render
from otel_realtime.state.journal import JOURNAL, line
from tests.benchmarks.server import ROOT
from tests.support.calls import DATA, PER_MS, Call, channels, silence, spans, tone

MS = 1_000_000
SHARED = pytest.mark.skipif(not DATA.exists(), reason="needs the shared sample data")


def test_both_sides_are_where_they_were_heard(call: Call) -> None:
    """User left, agent right, each at its exact sample, silence elsewhere, bit for bit."""
    question, answer = tone(1_000), tone(2_000, 700)
    call.speak(500, question)
    for number in range(10):
        chunk = answer[number * 200 * PER_MS : (number + 1) * 200 * PER_MS]
        call.hear(2_000 + number * 40, chunk)
    left, right = call.close(6_000)
    assert left.size == right.size == 6_000 * PER_MS
    assert spans(left) == [(500 * PER_MS, 1_500 * PER_MS)]
    assert spans(right) == [(2_000 * PER_MS, 4_000 * PER_MS)]
    assert (left[500 * PER_MS : 1_500 * PER_MS] == question).all()
    assert (right[2_000 * PER_MS : 4_000 * PER_MS] == answer).all()


def test_a_barge_in_cuts_at_the_claimed_sample(call: Call) -> None:
    """Estimate, claim, confirmation, late chunks, the next answer: it begins as the claim says."""
    answer, second = tone(3_000, 700), tone(500, 900)
    for number in range(10):
        call.hear(1_000 + number * 40, answer[number * 4_800 : (number + 1) * 4_800])
    call.speak(1_500, tone(500))
    call.received(2_000, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=1_500)
    call.truncate(2_001, "item_a", 887)
    call.hear(2_002, answer[48_000:52_800])
    call.received(
        2_010,
        "conversation.item.truncated",
        item_id="item_a",
        content_index=0,
        audio_end_ms=887,
    )
    call.hear(3_000, second, "item_b", "resp_2")
    left, right = call.close(9_000)
    assert spans(left) == [(1_500 * PER_MS, 2_000 * PER_MS)]
    assert spans(right) == [
        (1_114 * PER_MS, 2_001 * PER_MS),
        (3_114 * PER_MS, 3_614 * PER_MS),
    ]
    assert (right[1_114 * PER_MS : 2_001 * PER_MS] == answer[: 887 * PER_MS]).all()
    assert (right[3_114 * PER_MS : 3_614 * PER_MS] == second).all()


def test_an_estimated_cut_is_at_its_arrival(call: Call) -> None:
    """Without a claim the agent stops when the server says that the user speaks."""
    call.hear(1_000, tone(3_000))
    call.received(1_750.5, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=1)
    _, right = call.close(5_000)
    assert spans(right) == [(1_000 * PER_MS, 1_000 * PER_MS + 750 * PER_MS + 12)]


def test_a_refused_truncate_leaves_the_answer_whole(call: Call) -> None:
    """The server's error names the client's event."""
    call.hear(1_000, tone(2_000))
    call.truncate(1_500, "item_a", 200, "event_7")
    call.received(1_510, "error", error={"event_id": "event_7", "message": "no"})
    _, right = call.close(5_000)
    assert spans(right) == [(1_000 * PER_MS, 3_000 * PER_MS)]


def test_an_underrun_is_a_gap_of_its_length(call: Call) -> None:
    """The agent pauses while nothing arrives."""
    answer = tone(400, 700)
    call.hear(1_000, answer[:4_800])
    call.hear(1_350, answer[4_800:])
    _, right = call.close(3_000)
    assert spans(right) == [(24_000, 28_800), (1_350 * PER_MS, 1_550 * PER_MS)]


def test_chunks_need_not_be_whole_samples(call: Call) -> None:
    """An odd byte waits for the next chunk of its item and does not shift another's."""
    first, second = tone(100, 700), tone(100, 900)
    raw = first.tobytes()
    for at in range(0, len(raw), 333):
        call.hear(1_000, np.frombuffer(raw[at : at + 333], np.uint8))
    call.hear(1_500, np.frombuffer(b"\x07", np.uint8))
    call.hear(2_000, second, "item_b", "resp_2")
    for at in range(0, len(raw), 333):
        call.say(2_000, np.frombuffer(raw[at : at + 333], np.uint8))
    left, right = call.close(5_000)
    assert (right[24_000:26_400] == first).all()
    assert (right[48_000:50_400] == second).all()
    assert (left[1_900 * PER_MS : 2_000 * PER_MS] == first).all()
    assert spans(right) == [(24_000, 26_400), (48_000, 50_400)]


def test_the_file_ends_with_the_last_audio_that_is_kept(call: Call) -> None:
    """What is queued when the call ends is not heard."""
    call.say(500, tone(100))
    call.hear(1_000, tone(5_000))
    left, right = call.close(3_000)
    assert right.size == 3_000 * PER_MS
    assert spans(right) == [(24_000, 72_000)]
    assert spans(left) == [(9_600, 12_000)]


def test_g711_is_rendered_at_its_own_rate(call: Call) -> None:
    """Both sides at 8 kHz: nothing is resampled."""
    formats = {"audio": {side: {"format": {"type": "audio/pcmu"}} for side in ("input", "output")}}
    call.received(10, "session.created", session=formats)
    call.say(1_000, np.full(800, 0x80, np.uint8))
    call.hear(2_000, np.full(800, 0x00, np.uint8))
    call.track.close(3_000_000_000, True)
    call.track.measure()
    call.track.finish()
    rendered = render(call.folder, call.folder / "out.wav")
    left, right = channels(rendered)
    assert (rendered.rate_hz, rendered.frames, rendered.duration_s) == (8_000, 24_000, 3.0)
    assert spans(left) == [(7_200, 8_000)]
    assert spans(right) == [(16_000, 16_800)]
    assert set(left[7_200:8_000].tolist()) == {32_124}
    assert set(right[16_000:16_800].tolist()) == {-32_124}


def test_the_header_is_exact(call: Call) -> None:
    """RIFF and data sizes fit the file; the samples are at byte 44."""
    call.say(1_000, tone(1_000))
    call.close(1_500)
    raw = (call.folder / "out.wav").read_bytes()
    riff, size, *_, data, length = WAV_HEADER.unpack(raw[:44])
    assert (b"RIFF", b"data") == (riff, data)
    assert (len(raw) - 8, 1_500 * PER_MS * 4) == (size, length)
    assert b"LIST" == raw[44 + length : 48 + length]


def test_nothing_but_silence(call: Call) -> None:
    """A call without audio is as long as it was."""
    left, right = call.close(1_234)
    assert left.size == 1_234 * PER_MS
    assert spans(left) == spans(right) == []


def test_what_is_missing_of_a_source_is_silent(call: Call, tmp_path: Path) -> None:
    """After a crash a source may be shorter than its journal says, or gone."""
    call.say(1_000, tone(1_000))
    call.hear(1_000, tone(1_000))
    call.close(3_000)
    with open(call.folder / "user.raw", "r+b") as source:
        source.truncate(24_001)
    (call.folder / "agent.raw").unlink()
    left, right = channels(render(call.folder, tmp_path / "again.wav"))
    assert spans(left) == [(0, 12_000)]
    assert spans(right) == []
    assert left.size == 3_000 * PER_MS


def test_a_call_that_died_ends_with_its_last_record_of_any_kind(call: Call) -> None:
    """The agent's answer has played on until then, though nothing was said of sound meanwhile."""
    answer = tone(3_000, 700)
    call.speak(0, tone(1_000))
    call.hear(1_200, answer)
    call.track.note(1_300 * 1_000_000, "asked", {"at": 1})
    call.track.note(2_700 * 1_000_000, "settled", {"ids": []})
    call.track.finish()
    left, right = channels(render(call.folder, call.folder / "out.wav"))
    assert left.size == right.size == 2_700 * PER_MS
    assert [(0, 1_000 * PER_MS)] == spans(left)
    assert [(1_200 * PER_MS, 2_700 * PER_MS)] == spans(right)
    assert (right[1_200 * PER_MS :] == answer[: 1_500 * PER_MS]).all()


def test_no_disk_is_filled_beyond_what_it_holds(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit is not begun."""
    call.speak(0, tone(100))
    call.track.finish()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100 * PER_MS * 4 - 1))
    with pytest.raises(RecordingError, match="No space left"):
        render(call.folder, call.folder / "out.wav")
    assert [JOURNAL, "user.raw"] == sorted(path.name for path in call.folder.iterdir())


def test_a_journal_that_speaks_of_months_is_cut_and_it_is_said(
    call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An hour of silence after the last sound, and no more."""
    monkeypatch.setattr(timeline, "MAX_SILENCE_NS", 2_000_000_000)
    call.speak(0, tone(100))
    call.track.finish()
    with (call.folder / JOURNAL).open("ab") as journal:
        journal.write(line(["clear", 1 << 52]))
    assert 2_100 * PER_MS == render(call.folder, call.folder / "out.wav").frames
    assert ["the recording of call ends 4503597 s before the conversation"] == [
        record.getMessage().partition(":")[0] for record in caplog.records
    ]


def test_a_journal_cut_anywhere_renders_a_valid_prefix(call: Call, tmp_path: Path) -> None:
    """Whatever a kill leaves: the recording so far, in the same places."""
    question, answer = tone(300), tone(400, 700)
    call.speak(200, question)
    call.hear(600, answer)
    call.received(700, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=1)
    call.truncate(701, "item_a", 101)
    left, right = call.close(1_500)
    said, told = np.zeros_like(left), np.zeros_like(right)
    said[200 * PER_MS : 500 * PER_MS] = question
    told[600 * PER_MS : 1_000 * PER_MS] = answer  # a cut that is not in the journal never was
    journal = (call.folder / JOURNAL).read_bytes()
    torn = tmp_path / "torn"
    shutil.copytree(call.folder, torn)
    for length in [*range(0, len(journal), 3), len(journal)]:
        (torn / JOURNAL).write_bytes(journal[:length])
        part_left, part_right = channels(render(torn, tmp_path / "part.wav"))
        for part, whole in ((part_left, said), (part_right, told)):
            assert part.size <= whole.size
            heard = part != 0
            assert (part[heard] == whole[: part.size][heard]).all()
    assert (part_left == left).all()
    assert (part_right == right).all()


def test_render_says_what_it_cannot_do(call: Call, tmp_path: Path) -> None:
    """A folder without a journal, a target that cannot be written; no half file is left."""
    call.say(1_000, tone(100))
    call.close(2_000)
    with pytest.raises(RecordingError, match="journal"):
        render(tmp_path / "nothing", tmp_path / "out.wav")
    with pytest.raises(RecordingError, match="cannot render"):
        render(call.folder, tmp_path / "missing" / "out.wav")
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(RecordingError, match="cannot render"):
        render(call.folder, tmp_path / "folder.wav")
    assert not list(tmp_path.glob("*.part"))


def test_corrections_that_come_late_still_count(call: Call) -> None:
    """The recording is made once, from everything that is known in the end."""
    call.hear(1_000, tone(1_000))
    call.hear(5_000, tone(1_000, 700), "item_b", "resp_2")
    call.truncate(7_000, "item_a", 100)
    _, right = call.close(8_000)
    assert spans(right) == [(24_000, 26_400), (120_000, 144_000)]


def test_a_fault_in_a_foreign_record_does_not_matter(call: Call) -> None:
    """Other parts journal what they like."""
    call.track.note(5, "response", {"id": "resp", "text": "\ud800"})
    call.say(1_000, tone(1_000))
    left, _ = call.close(1_000)
    assert spans(left) == [(0, 24_000)]
    kinds = [json.loads(text)[0] for text in (call.folder / JOURNAL).read_text().splitlines()]
    assert kinds == ["open", "buffered", "response", "user", "close"]
    assert line(["close", 10**9, True]) == b'["close",1000000000,true]\n'


@SHARED
def test_the_recorded_barge_in(call: Call) -> None:
    """The sample stream with full audio: 600 ms are kept of the interrupted item."""
    audio = {True: "input_audio_buffer.append", False: "response.output_audio.delta"}
    for row in map(json.loads, (DATA / "events/ga_ws_bargein_pcm.jsonl").open()):
        t, sent, event = round(row["t_ms"] * 1e6), row["dir"] == "sent", row["event"]
        if event["type"] == audio[sent]:
            call.track.frame(t, sent, json.dumps(event))
        else:
            call.track.event(t, sent, event)
    first = call.track.item("item_HE6YqRASj_TOAh5aI_5aj")
    assert first is not None
    assert (3_000, 600, "client_truncate", True) == (
        first.generated_ms,
        first.heard_ms,
        first.heard_source,
        first.interrupted,
    )
    call.close(20_000)
    _, right = channels(render(call.folder, call.folder / "out.wav"))
    source = np.frombuffer((call.folder / "agent.raw").read_bytes(), "<i2")
    at = round((1_838.6 - 600) * PER_MS)  # so much had been played when the client said so
    assert (right[at : at + 14_400] == source[:14_400]).all()
    assert not right[at + 14_400 : round(2_955.7 * PER_MS)].any()


@SHARED
@pytest.mark.parametrize("chunk_ms", [20, 100, 5_488])
def test_speech_comes_through_bit_exact(call: Call, chunk_ms: int) -> None:
    """Real speech from a microphone, or a file at once, sample for sample."""
    speech = np.frombuffer((DATA / "audio/marcelo_24khz.pcm").read_bytes(), "<i2")
    whole = speech[: speech.size - speech.size % PER_MS]
    call.speak(1_000, whole, chunk_ms)
    left, _ = call.close(20_000)
    at = {20: 1_000, 100: 1_000, 5_488: 6_488}[chunk_ms] * PER_MS
    assert (left[at : at + whole.size] == whole).all()
    assert not left[:at].any()
    assert not left[at + whole.size :].any()


def test_a_wave_reader_reads_it(call: Call) -> None:
    """The standard library's reader agrees on every field."""
    call.say(1_000, silence(100))
    call.close(2_000)
    with wave.open(str(call.folder / "out.wav")) as file:
        assert file.getparams()[:4] == (2, 2, 24_000, 48_000)


def test_a_recording_says_what_is_where(call: Call) -> None:
    """Turns as they are given; pauses and what was silenced as the journal has them; no word."""
    call.speak(0, tone(1_000))
    call.hear(1_200, tone(500, 700))
    call.track.pause(2_000 * MS)
    call.track.resume(2_500 * MS)
    call.track.redact(2_600 * MS, Stretch(200 * MS, 300 * MS, "user"))
    call.track.pause(2_800 * MS)
    call.track.close(3_000 * MS, True)
    call.track.finish()
    about = About(
        thread_id="t",
        trace_id="ab" * 16,
        start_ns=10**18,
        marks=[Mark(0, 1_000 * MS, "turn 1: user")],
    )
    rendered = render(call.folder, call.folder / "out.wav", about=about)
    read = wavinfo.WavInfoReader(str(rendered.path))
    assert [
        (0, 24_000, "turn 1: user"),
        (4_800, 2_400, "redacted: user"),
        (48_000, 12_000, "recording paused"),
        (67_200, 4_800, "recording paused"),
    ] == [(cue["frame"], cue["length"], cue["label"]) for cue in read.cues.to_dict().values()]
    assert ("ab" * 16, "t") == (read.bext.originator_ref, read.info.subject)
    assert (3_000 * PER_MS, rendered.path.stat().st_size - 8) == (
        read.data.frame_count,
        WAV_HEADER.unpack(rendered.path.read_bytes()[:44])[1],
    )


def test_how_loud_each_side_is(call: Call) -> None:
    """Of what is in the file: a side that nobody hears has no loudness, nor has one that is silenced."""
    call.speak(0, tone(3_000, 997, 32_767 / 10))
    call.track.close(3_000 * MS, True)
    call.track.finish()
    rendered = render(call.folder, call.folder / "out.wav", leave_sources=True)
    assert {"user": pytest.approx(-23.0, abs=0.2)} == rendered.loudness
    assert wavinfo.WavInfoReader(str(rendered.path)).bext.loudness_value == pytest.approx(
        rendered.loudness["user"], abs=0.06
    )
    call.folder.joinpath(JOURNAL).open("ab").write(
        line(["redact", 0, 0, 3_000 * MS, None, "silence", "call"])
    )
    assert {} == render(call.folder, call.folder / "out.wav").loudness


_AT_ONCE = """
import sys, threading, tracemalloc
from pathlib import Path
from otel_realtime.core.audio.formats import PCM16
from otel_realtime.recording.render import render
from tests.benchmarks.bench_render import G711, written
from tests.benchmarks.server import ROOT
folders = [written(Path(sys.argv[1]) / f"call{number}", 2, G711, PCM16) for number in range(4)]
threads = [threading.Thread(target=render, args=(each, each / "out.wav")) for each in folders]
tracemalloc.start()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(tracemalloc.get_traced_memory()[1])
"""


def test_several_at_once_hold_little(tmp_path: Path) -> None:
    """A second of sound each, and the timeline, however long the calls are."""
    # In a process of its own: what other tests of this one still hold is no render's.
    command = [sys.executable, "-c", _AT_ONCE, str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    sizes = [(tmp_path / f"call{number}" / "out.wav").stat().st_size for number in range(4)]
    assert [11_500_000] * 4 == [size // 100_000 * 100_000 for size in sizes]
    assert int(done.stdout) < 16_000_000
