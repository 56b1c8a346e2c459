"""What lies in a folder of recordings is shown as far as it goes, and nothing else is."""

from __future__ import annotations

import base64
import json
import os
import wave
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from otel_realtime.exporting.sources import sources
from otel_realtime.sandbox.access import Access
from otel_realtime.viewing.command import _place, write_report
from otel_realtime.viewing.files import files_of
from otel_realtime.viewing.kept import KeptCalls
from otel_realtime.viewing.server import server_for
from tests.support import kept_call

SOUND = kept_call.sound((), 1000)
PARTS = ("", "/recording", "/call.json", "/captions.vtt", "/captions.srt", "/transcript.txt")


def client_of(folder: Path, **more: Any) -> TestClient:
    calls = KeptCalls(files_of(str(folder), folder))
    app = server_for(calls, folder / ".peaks", names=["testserver"], **more).config.app
    assert isinstance(app, Access)
    return TestClient(app, raise_server_exceptions=False)


def listed(client: TestClient) -> dict[str, Any]:
    found: list[dict[str, Any]] = client.get("/api/calls?limit=500").json()["calls"]
    return {call["id"]: call for call in found}


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"recording": {}},
        {"turns": [3]},
        {"facts": {}},
        {"id": 5},
        {"metadata": [1]},
        {"duration_ms": 10**30},
        {"duration_ms": float("nan")},
        {"tools": [{"name": "x"}]},
        "{",
        "[" * 100_000,
        "",
    ],
)
def test_a_call_with_json_that_is_none_is_shown_with_its_sound(tmp_path: Path, change: Any) -> None:
    """And so are those beside it."""
    kept_call.keep(tmp_path, kept_call.call_object())
    kept_call.write_wav(tmp_path / "odd.wav", SOUND)
    text = change if isinstance(change, str) else json.dumps({**kept_call.call_object(), **change})
    (tmp_path / "odd.json").write_text(text, encoding="utf-8")
    client = client_of(tmp_path)
    assert listed(client).keys() == {"call-1", "odd"}
    assert [200] * len(PARTS) == [client.get(f"/api/calls/odd{p}").status_code for p in PARTS]


def test_an_id_that_is_no_part_of_an_address_is_the_files_name(tmp_path: Path) -> None:
    """And an id that is taken by a copy of the call."""
    for stem, call_id in [
        ("a", "../../etc/passwd"),
        ("b", ".."),
        ("c", "summary"),
        ("d", ""),
        ("e", "a/b"),
    ]:
        call = {**kept_call.call_object(), "id": call_id}
        (tmp_path / f"{stem}.json").write_text(json.dumps(call), encoding="utf-8")
        kept_call.write_wav(tmp_path / f"{stem}.wav", SOUND)
    for stem in ("x", "y"):
        (tmp_path / f"{stem}.json").write_text(
            json.dumps(kept_call.call_object()), encoding="utf-8"
        )
    client = client_of(tmp_path)
    assert listed(client).keys() == {"a", "b", "c", "d", "e", "call-1", "y"}
    for call_id in listed(client):
        assert 200 == client.get(f"/api/calls/{call_id}").status_code


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    """Whoever may write to the folder must not have the machine's other files shown."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    kept_call.write_wav(folder / "in.wav", SOUND)
    (folder / "out.wav").symlink_to(tmp_path / "secret")
    (folder / "again.wav").symlink_to(folder / "in.wav")
    (folder / "dead.wav").symlink_to(tmp_path / "nothing")
    assert listed(client_of(folder)).keys() == {"in", "again"}


def test_a_header_that_lies_does_not_make_the_sound_longer(tmp_path: Path) -> None:
    """As of a recording whose writer died, and of none that can be read."""
    kept_call.write_wav(tmp_path / "lie.wav", SOUND)
    data = bytearray((tmp_path / "lie.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4
    (tmp_path / "lie.wav").write_bytes(data)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "cut.wav").write_bytes(bytes(data[:30]))
    client = client_of(tmp_path)
    assert {"lie": 1000, "empty": None, "cut": None} == {
        name: call["duration_ms"] for name, call in listed(client).items()
    }
    for name in ("empty", "cut"):
        assert 404 == client.get(f"/api/calls/{name}/peaks").status_code
        assert 404 == client.get(f"/api/calls/{name}/clip.wav?start_ms=0&end_ms=9").status_code


def test_names_of_any_bytes_and_dates_of_no_day_are_shown(tmp_path: Path) -> None:
    """A file system knows no encoding."""
    try:
        kept_call.write_wav(tmp_path / os.fsdecode(b"\xff.wav"), SOUND)
    except OSError:
        pytest.skip("this file system does")
    kept_call.write_wav(tmp_path / "99999999T999999Z-t-0123456789abcdef.wav", SOUND)
    client = client_of(tmp_path)
    assert [(1000, ""), (1000, "")] == [
        (call["duration_ms"], call["started_at"]) for call in listed(client).values()
    ]
    for call_id in listed(client):
        assert 200 == client.get(f"/api/calls/{quote(call_id)}/recording").status_code


def test_a_recording_that_has_gone_is_not_found(tmp_path: Path) -> None:
    """Until the folder is looked at again."""
    kept_call.keep(tmp_path, kept_call.call_object())
    client = client_of(tmp_path)
    (tmp_path / "call-1.wav").unlink()
    assert 404 == client.get("/api/calls/call-1/recording").status_code
    assert 404 == client.get("/api/calls/call-1/peaks").status_code
    assert 200 == client.get("/api/calls/call-1").status_code


@pytest.mark.parametrize(
    "query",
    ["q='", "q=%25", "q=%00", f"q={'%25' * 15_000}", f"q={'a' * 60_000}", "thread=%25", "meta=a=b'", "limit=nan",
     "offset=1e300", "sort=id;drop", "latency_over=inf"],
)  # fmt: skip
def test_a_search_is_no_command(tmp_path: Path, query: str) -> None:
    """Nor too long for the database."""
    kept_call.keep(tmp_path, kept_call.call_object())
    client = client_of(tmp_path)
    answers = [client.get(f"/api/calls{path}?{query}").status_code for path in ("", "/summary")]
    assert [200, 200] == answers
    assert {"call-1"} == listed(client).keys()


def test_with_keys_everything_asks_for_one(tmp_path: Path) -> None:
    """All but what holds nothing of a call."""
    kept_call.keep(tmp_path, kept_call.call_object())
    client = client_of(tmp_path, keys=["secret"])
    more = ("/peaks", "/clip.wav?start_ms=0&end_ms=9", "/spans", "/spans/search?q=a")
    paths = [f"/api/calls/call-1{part}" for part in (*PARTS, *more)]
    paths += [
        "/api/calls",
        "/api/calls/summary",
        "/api/events",
        "/api/violations",
        "/",
        "/conversations/call-1",
    ]
    assert {401} == {client.get(path).status_code for path in paths}
    assert 200 == client.get("/api/calls", headers={"x-api-key": "secret"}).status_code


def test_nothing_of_a_call_ends_the_reports_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its file has a name of its own, in the current folder."""
    pytest.importorskip("soundfile")
    evil = "</script><script>alert(1)</script><!-- \u2028\u202e {style} \ud800 " + "x" * 2000
    call: dict[str, Any] = {**kept_call.call_object(), "name": evil, "thread_id": f"../../{evil}"}
    call["metadata"] = {evil: evil}
    call["turns"][0]["text"] = call["turns"][0]["heard_text"] = evil
    (tmp_path / "call-1.json").write_text(json.dumps(call), encoding="utf-8")
    kept_call.write_wav(tmp_path / "call-1.wav", SOUND)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert 0 == write_report(f"../../{evil}", recordings_dir=str(tmp_path))
    (made,) = (tmp_path / "here").iterdir()
    html = made.read_text(encoding="utf-8")
    assert 2 == html.count("<script")
    data = html.partition('id="report">')[2].partition("</script>")[0]
    assert evil == json.loads(data)["page"]["call"]["turns"][0]["text"]


@pytest.mark.parametrize("told", ["", "..", "x" * 5_000, "/etc/passwd"])
def test_a_recordings_name_in_the_json_leads_nowhere_else(tmp_path: Path, told: str) -> None:
    """The file beside it is the recording."""
    call: dict[str, Any] = kept_call.call_object()
    call["recording"] = {
        "file": told,
        "mime": "audio/wav",
        "duration_ms": 1,
        "sample_rate": 1,
        "channels": [],
    }
    (tmp_path / "a.json").write_text(json.dumps(call), encoding="utf-8")
    kept_call.write_wav(tmp_path / "a.wav", SOUND)
    assert 200 == client_of(tmp_path).get("/api/calls/call-1/recording").status_code
    (source,) = sources(str(tmp_path), None, tmp_path)
    assert tmp_path / "a.wav" == source.recording(tmp_path)


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3_000, "~nobody-here/x"])
def test_a_name_that_is_no_path_is_looked_for_among_ids(tmp_path: Path, name: str) -> None:
    """A thread's id may be anything."""
    kept_call.keep(tmp_path, {**kept_call.call_object(), "thread_id": name})
    calls = KeptCalls(files_of(str(tmp_path), tmp_path))
    assert "call-1" == calls.find(name)
    assert (str(tmp_path), name) == _place(name, str(tmp_path))


@pytest.mark.parametrize(
    ("channels", "width"),
    [(1, 2), (2, 3), (9, 2), (2, 1)],
    ids=["mono", "24 bits", "nine", "8 bits"],
)
def test_a_report_of_any_wav_has_its_sound(tmp_path: Path, channels: int, width: int) -> None:
    """Of one channel, or of samples of other lengths."""
    soundfile = pytest.importorskip("soundfile")
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(8_000)
        file.writeframes(bytes(8_000 * channels * width))
    target = tmp_path / "a.html"
    assert 0 == write_report(str(tmp_path / "a.wav"), output=target)
    data = target.read_text(encoding="utf-8").partition('id="report">')[2].partition("</script>")[0]
    audio = base64.b64decode(json.loads(data)["audio"]["base64"])
    with soundfile.SoundFile(BytesIO(audio)) as file:
        assert (2, 8_000) == (file.channels, file.samplerate)


def test_a_report_of_broken_sound_has_the_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so, and the exit code does."""
    pytest.importorskip("soundfile")
    kept_call.keep(tmp_path, kept_call.call_object())
    (tmp_path / "call-1.wav").write_bytes(b"RIFF")
    target = tmp_path / "a.html"
    assert 1 == write_report("call-1", output=target, recordings_dir=str(tmp_path))
    assert "no sound" in capsys.readouterr().err
    assert '"audio":null' in target.read_text(encoding="utf-8")
