"""``otel-realtime init collector``: what is written, kept and said; and the wheel that has it all."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from otel_realtime import cli, collector_files
from otel_realtime.version import VERSION
from tests.e2e.conftest import collector_binary
from tests.matrix.environments import uv
from tests.support.handmade import conversation, send_http
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import ROOT, Collector, clean_environment

__all__ = ["collector_binary"]
HOME = "https://github.com/otel-realtime/otel-realtime"


def tracked() -> set[str]:
    """The files of the repository that have to be written."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "collector"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    return {"docker-compose.yml", *found} - {"collector/demo.released.Dockerfile"}


def written(folder: Path) -> set[str]:
    """The files of a folder, without the record of what was written."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return set(paths) - {collector_files.RECORD}


def test_everything_of_the_repository_is_written(tmp_path: Path) -> None:
    """Each file byte for byte; the demo's image is the one that needs no checkout."""
    assert 0 == cli.main(["init", "collector", str(tmp_path / "new")])
    assert tracked() == written(tmp_path / "new")
    image = "collector/demo.Dockerfile"
    for name in tracked() - {image}:
        assert (ROOT / name).read_bytes() == (tmp_path / "new" / name).read_bytes()
    released = (tmp_path / "new" / image).read_text()
    assert f'"otel-realtime[demo]=={VERSION}"' in released
    assert "COPY" not in released


def test_both_images_of_the_demo_are_the_same_but_for_the_source() -> None:
    """The same base, user, volume and command."""

    def lines(name: str) -> list[str]:
        text = (ROOT / "collector" / name).read_text()
        ours = ("#", "COPY", "WORKDIR", "RUN")
        return [line for line in text.splitlines() if not line.startswith(ours)]

    assert lines("demo.Dockerfile") == lines("demo.released.Dockerfile")


def test_what_compose_mounts_and_builds_is_written(tmp_path: Path) -> None:
    """``docker compose up`` finds each file of its own folder there."""
    collector_files.write(tmp_path)
    compose = yaml.safe_load((tmp_path / "docker-compose.yml").read_text())
    named = []
    for service in compose["services"].values():
        mounts = [volume.split(":")[0] for volume in service.get("volumes", ()) if ":" in volume]
        named += [mount for mount in mounts if mount.startswith(".")]
        named += [service["build"]["dockerfile"]] if "build" in service else []
    assert named
    assert [] == [name for name in named if not (tmp_path / name).exists()]


def test_a_second_time_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even the record: the folder may be read-only then."""
    collector_files.write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert 0 == cli.main(["init", "collector", str(tmp_path), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (str(tmp_path), VERSION, [], []) == (
        told["folder"],
        told["version"],
        told["written"],
        told["kept"],
    )
    assert tracked() == set(told["unchanged"])
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_a_changed_file_is_kept_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1; what is missing is written all the same, and ``--force`` replaces it."""
    collector_files.write(tmp_path)
    config = tmp_path / "collector" / "config.yaml"
    config.write_text("mine: 1\n")
    (tmp_path / "collector" / "jaeger.yaml").unlink()
    assert 1 == cli.main(["init", "collector", str(tmp_path), "--json"])
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert (["collector/jaeger.yaml"], ["collector/config.yaml"]) == (
        report["written"],
        report["kept"],
    )
    assert f"kept, because it was changed: {config}" in told.err.splitlines()
    assert "mine: 1\n" == config.read_text()

    assert 0 == cli.main(["init", "collector", str(tmp_path), "--force"])
    assert (ROOT / "collector" / "config.yaml").read_bytes() == config.read_bytes()
    assert "1 written" in capsys.readouterr().out


def test_a_file_that_was_there_before_is_somebodys(tmp_path: Path) -> None:
    """A compose file of the app's own is not ours to replace."""
    own = tmp_path / "docker-compose.yml"
    own.write_text("services: {}\n")
    done = collector_files.write(tmp_path)
    assert ["docker-compose.yml"] == done.kept
    assert "services: {}\n" == own.read_text()


def test_what_an_earlier_version_wrote_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what nobody changed since."""
    earlier = [
        collector_files.File(file.path, b"# earlier\n", executable=False)
        for file in collector_files.shipped()
    ]
    with monkeypatch.context() as patch:
        patch.setattr(collector_files, "shipped", lambda: earlier)
        collector_files.write(tmp_path)
    changed = tmp_path / "collector" / "config.yaml"
    changed.write_text("# earlier\nmine: 1\n")
    done = collector_files.write(tmp_path)
    assert (["collector/config.yaml"], tracked() - {"collector/config.yaml"}) == (
        done.kept,
        set(done.written),
    )
    # Taken back, it is replaced as the others were.
    changed.write_text("# earlier\n")
    assert ["collector/config.yaml"] == collector_files.write(tmp_path).written


@pytest.mark.parametrize("record", ["", "[]", '{"files": 3}', '{"files": {"x": 1}}', "\udcff"])
def test_a_damaged_record_means_that_nothing_is_known(tmp_path: Path, record: str) -> None:
    """What differs is kept then."""
    collector_files.write(tmp_path)
    (tmp_path / collector_files.RECORD).write_bytes(record.encode("utf-8", "surrogateescape"))
    (tmp_path / "collector" / "config.yaml").write_text("mine: 1\n")
    assert ["collector/config.yaml"] == collector_files.write(tmp_path).kept


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and one line, whatever is in the way."""
    (tmp_path / "file").touch()
    assert 2 == cli.main(["init", "collector", str(tmp_path / "file" / "below")])
    assert 2 == cli.main(["init", "collector", str(tmp_path / "file")])
    (tmp_path / "dir" / "docker-compose.yml").mkdir(parents=True)
    assert 2 == cli.main(["init", "collector", str(tmp_path / "dir")])
    lines = capsys.readouterr().err.splitlines()
    assert 3 == len(lines)
    assert all(line.startswith("otel-realtime: cannot use ") for line in lines)


def test_an_installation_without_the_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy of the package alone has none, and says so."""
    monkeypatch.setattr(collector_files, "_HERE", tmp_path / "otel_realtime")
    assert 2 == cli.main(["init", "collector", str(tmp_path)])
    assert "has no files of the Collector" in capsys.readouterr().err


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, as a release builds it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [uv(), "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)], check=True
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.collector
def test_the_wheel_has_them_and_says_where_it_comes_from(wheel: Path) -> None:
    """Its files, and the links that the package index shows."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        about = email.message_from_bytes(archive.read(metadata))
    shipped = {name.removeprefix("otel_realtime/_collector/") for name in names}
    assert tracked() <= shipped
    links = [link.partition(", ")[2] for link in about.get_all("Project-URL", [])]
    assert links
    assert all(link.startswith(HOME) for link in links)
    assert f"{HOME}/blob/main/collector/README.md" in about.get_payload()


@pytest.mark.collector
def test_a_pip_user_starts_the_collector_with_what_was_written(
    wheel: Path, collector_binary: Path, tmp_path: Path
) -> None:
    """The wheel in an environment of its own, the command in an empty folder, a call through it."""
    environment, empty = tmp_path / "environment", tmp_path / "empty"
    empty.mkdir()
    subprocess.run([uv(), "venv", "--quiet", "-p", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([uv(), "pip", "install", "--quiet", "-p", python, wheel], check=True)
    done = subprocess.run(
        [environment / "bin" / "otel-realtime", "init", "collector", ".", "--json"],
        cwd=empty,
        env={k: v for k, v in clean_environment().items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert tracked() == set(json.loads(done.stdout)["written"]) == written(empty)
    with OtlpRecorder() as langsmith:
        configs = [empty / "collector" / name for name in ("config.yaml", "config.metrics.yaml")]
        with Collector(
            collector_binary,
            tmp_path / "collector",
            configs,
            LANGSMITH_API_KEY="lsv2_pt_test",
            LANGSMITH_OTLP_ENDPOINT=langsmith.endpoint,
        ) as collector:
            trace = conversation()
            assert send_http(collector.http, trace)
            assert {trace.trace_id} == {span.trace_id for span in langsmith.wait(5)}


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_program_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode of the file that ships."""
    program = collector_files.File("collector/run.sh", b"#!/bin/sh\n", executable=True)
    monkeypatch.setattr(collector_files, "shipped", lambda: [program])
    collector_files.write(tmp_path)
    assert os.access(tmp_path / "collector" / "run.sh", os.X_OK)
