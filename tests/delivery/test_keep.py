"""Recordings that teams keep themselves: in a folder, in a bucket, or by a function of theirs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import otel_realtime
from otel_realtime.delivery import keeper as keeping
from otel_realtime.delivery.keep import keep, keep_beside, name_of, uri_of, without_date
from otel_realtime.demo.scenario import Answer
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.errors import RecordingError
from otel_realtime.recovery.sweep import recover
from otel_realtime.sandbox import Sandbox
from otel_realtime.state import owner
from tests.support import talking
from tests.support.traces import Traces, run_of

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

BUCKET = "calls"
DEAD = "0" * 32
REPLY = talking.tone(200, 523)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server that speaks S3, in this process."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def s3(server: str, process: pytest.MonkeyPatch) -> Any:
    """A client of that server, with an empty bucket; the environment names both."""
    import boto3

    process.setenv("AWS_ENDPOINT_URL", server)
    process.setenv("AWS_ACCESS_KEY_ID", "key")
    process.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    process.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    return client


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        ("/srv/wav", "file:///srv/wav/a%20b.wav"),
        ("s3://bucket/calls/", "s3://bucket/calls/a b.wav"),
        ("sftp://me:secret@host/calls", "sftp://host/calls/a b.wav"),
    ],
)
def test_the_address_of_a_copy_is_known_before(directory: str, expected: str) -> None:
    """And names nobody's password."""
    assert expected == uri_of(directory, "a b")


def names(s3: Any) -> list[str]:
    """What is in the bucket."""
    found = s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())
    return sorted(item["Key"] for item in found)


def content(s3: Any, key: str) -> bytes:
    """One object of the bucket."""
    body: bytes = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return body


def recording(folder: Path, size: int = 1_000) -> Path:
    """Some file to keep."""
    path = folder / "conversation.wav"
    path.write_bytes(os.urandom(size))
    return path


@pytest.mark.parametrize("directory", ["{}", "{}/", "file://{}"])
def test_a_folder_is_made(tmp_path: Path, directory: str) -> None:
    """By its path or its URL, with its parents; no half file stays."""
    wav, target = recording(tmp_path), tmp_path / "a" / "b"
    where = keep(wav, directory.format(target), "name")
    assert wav.read_bytes() == (target / "name.wav").read_bytes()
    assert ["name.wav"] == [one.name for one in target.iterdir()]
    assert where.endswith("/a/b/name.wav")


@pytest.mark.parametrize("size", [0, 1_000, 20_000_000])
def test_a_bucket(tmp_path: Path, s3: Any, size: int) -> None:
    """Small files and such that take several parts come out as they went in."""
    wav = recording(tmp_path, size)
    assert "s3://calls/2026/voice/n.wav" == keep(wav, "s3://calls/2026/voice/", "n")
    assert ["2026/voice/n.wav"] == names(s3)
    assert wav.read_bytes() == content(s3, "2026/voice/n.wav")
    assert "s3://calls/n.wav" == keep(wav, "s3://calls", "n")
    assert wav.read_bytes() == content(s3, "n.wav")


def test_names_sort_by_the_start_of_the_calls() -> None:
    """In UTC; a start of no year that there is costs the date only."""
    day = 86_400 * 10**9
    starts = [1_795_766_400 * 10**9 + day * n for n in range(3)]
    made = [name_of(thread, 7, start) for thread, start in zip("cab", starts, strict=True)]
    assert sorted(made) == made
    assert "20261127T080000Z-c-0000000000000007" == made[0]
    assert "c-0000000000000007" == name_of("c", 7, 10**30) == without_date(made[0])


def test_json_lies_beside_the_copy_when_it_is_complete(tmp_path: Path, s3: Any) -> None:
    """In a folder and in a bucket; in one that is not there, an error names it."""
    keep_beside("{}", str(tmp_path), "n")
    keep_beside('{"a": "é"}', "s3://calls/x", "n")
    assert ["n.json"] == [path.name for path in tmp_path.iterdir()]
    assert '{"a": "é"}'.encode() == content(s3, "x/n.json")
    with pytest.raises(RecordingError, match=r"cannot write .*/none/n\.json"):
        keep_beside("{}", str(tmp_path / "none"), "n")


def test_an_upload_that_breaks_off_leaves_nothing(
    tmp_path: Path, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an object nor an upload that waits for its end."""
    wav = recording(tmp_path, 20_000_000)

    def breaks(source: Any, target: Any, size: int) -> None:
        target.write(source.read(size))
        raise OSError("the disk is gone")

    monkeypatch.setattr("otel_realtime.delivery.keep.shutil.copyfileobj", breaks)
    with pytest.raises(RecordingError, match="the disk is gone"):
        keep(wav, "s3://calls/x", "n")
    assert [] == names(s3)
    assert [] == s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


@pytest.mark.parametrize(
    ("directory", "said"),
    [
        ("s3://no-such-bucket/x", "bucket does not exist"),
        ("nope://host/x", "Protocol not known: nope"),
        ("/proc/nothing", "No such file"),
        ("ftp://user:secret@127.0.0.1:1/x", "ftp://127.0.0.1:1/x/n.wav"),
    ],
)
def test_what_cannot_be_kept_says_why(tmp_path: Path, s3: Any, directory: str, said: str) -> None:
    """Every kind of failure is one error, without passwords; no bucket is made."""
    with pytest.raises(RecordingError, match=said) as found:
        keep(recording(tmp_path), directory, "n")
    assert "secret" not in str(found.value)
    assert [BUCKET] == [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


@pytest.mark.parametrize("missing", ["fsspec", "fsspec.core", "s3fs"])
def test_without_the_library_the_error_names_the_extra(
    tmp_path: Path, s3: Any, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to install stands in the line."""
    from fsspec.registry import _registry

    for name in list(_registry):
        monkeypatch.delitem(_registry, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(RecordingError, match=r'pip install "otel-realtime\[buckets\]"'):
        keep(recording(tmp_path), "s3://calls", "n")


GROWTH = """
import resource, sys
from pathlib import Path
from otel_realtime.delivery.keep import keep
keep(Path(sys.argv[2]), "s3://calls/growth", "short")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
keep(Path(sys.argv[1]), "s3://calls/growth", "long")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_length(tmp_path: Path, s3: Any) -> None:
    """60 MB take no more than 17 MB take."""
    (tmp_path / "short").mkdir()
    files = recording(tmp_path, 60_000_000), recording(tmp_path / "short", 17_000_000)
    command = [sys.executable, "-c", GROWTH, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 16_384  # kB
    assert 60_000_000 == s3.head_object(Bucket=BUCKET, Key="growth/long.wav")["ContentLength"]


def talk(traces: Traces, **settings: Any) -> str:
    """One call with these settings; its run's id."""
    otel_realtime.instrument(
        tracer_provider=traces.provider, settings=otel_realtime.Settings(**settings)
    )
    with ScriptedServer(
        talking.scenario(Answer(text="Yes.", pcm=REPLY)), speed=talking.SPEED
    ) as server:
        asyncio.run(asyncio.wait_for(talking.one_turn(server.url), 20))
    return run_of(traces.root)


def folders(state_dir: Path) -> list[Path]:
    """Conversations that stand on disk."""
    return list((state_dir / "conversations").glob("*"))


def test_a_call_is_kept_in_a_bucket_and_shown_to_the_app(
    traces: Traces, tmp_path: Path, s3: Any
) -> None:
    """The app is told where it is and what it is; afterwards nothing is left on this disk."""
    seen: list[tuple[bytes, dict[str, Any]]] = []
    run = talk(
        traces,
        state_dir=tmp_path / "state",
        recordings_dir="s3://calls/voice",
        on_recording=lambda path, info: seen.append((path.read_bytes(), info)),
    )
    assert otel_realtime.flush(20)
    [(raw, info)] = seen
    about, key = sorted(names(s3))
    assert raw == content(s3, key)
    assert Path(key).name == json.loads(content(s3, about))["recording"]["file"]
    assert (f"s3://calls/{key}", run) == (info["kept_as"], info["langsmith_run_id"])
    assert 24_000 == info["rate_hz"]
    assert [] == folders(tmp_path / "state")


def test_a_thread_id_is_no_path(traces: Traces, tmp_path: Path) -> None:
    """Whatever the app calls its threads, the file is in the folder."""
    kept = tmp_path / "kept"
    with otel_realtime.using(thread_id="../../x/é y", join=False):
        talk(traces, state_dir=tmp_path / "state", recordings_dir=str(kept))
    assert otel_realtime.flush(20)
    about, path = sorted(kept.rglob("*"))
    assert re.fullmatch(r"\d{8}T\d{6}Z-_\.\._x_y-[0-9a-f]{16}\.wav", path.name)
    assert (path.stem, ".json") == (about.stem, about.suffix)


def test_a_bucket_that_is_away_holds_up_nothing(
    traces: Traces,
    tmp_path: Path,
    sandbox: Sandbox,
    s3: Any,
    process: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """LangSmith gets its recording; ours stays on disk, and a later start keeps it."""
    process.setattr(keeping, "KEEP_WAITS_S", (0.01,))
    state, failing = tmp_path / "state", "s3://not-there-yet/voice"
    run = talk(traces, state_dir=state, recordings_dir=failing)
    assert not otel_realtime.flush(20)
    conversation = sandbox.conversation(run)
    assert conversation is not None
    assert conversation["has_recording"]
    assert [failing in line and str(state) in line for line in caplog.messages] == [True]
    (folder,) = folders(state)
    assert '["posted", "root"]' == (folder / "delivered.json").read_text()
    assert otel_realtime.flush(20)  # it was told once
    s3.create_bucket(Bucket="not-there-yet")
    before = len(sandbox.conversations())
    folder.rename(folder.with_name(folder.name.replace(owner.instance_id(), DEAD)))
    settings = otel_realtime.Settings(state_dir=state, recordings_dir=failing)
    assert recover(settings, timeout_s=20).complete
    assert [] == folders(state)
    assert before == len(sandbox.conversations())
    objects = s3.list_objects_v2(Bucket="not-there-yet")["Contents"]
    assert [".json", ".wav"] == sorted(Path(item["Key"]).suffix for item in objects)
    assert [] == sandbox.violations()
    for item in objects:
        s3.delete_object(Bucket="not-there-yet", Key=item["Key"])
    s3.delete_bucket(Bucket="not-there-yet")
