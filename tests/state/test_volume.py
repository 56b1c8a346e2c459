"""Which kind of disk the state directory lies on."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from otel_realtime.state import volume
from otel_realtime.state.volume import is_in_memory, kind_of, warn_if_in_memory

MOUNTS = """\
overlay / overlay rw 0 0
proc /proc proc rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
tmpfs /run tmpfs rw 0 0
/dev/sda1 /run/state ext4 rw 0 0
ramfs /mnt/with\\040space ramfs rw 0 0
tmpfs /over tmpfs rw 0 0
/dev/sda1 /over ext4 rw 0 0
odd

"""


@pytest.fixture
def _mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mounts of some machine."""
    table = tmp_path / "mounts"
    table.write_text(MOUNTS)
    monkeypatch.setattr(volume, "_MOUNTS", table)


@pytest.mark.usefixtures("_mounts")
@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/var/lib/state", False),
        ("/", False),
        ("/dev/shm", True),
        ("/dev/shm/a/b", True),
        ("/dev/shmother", False),
        ("/run/lock", True),
        ("/run/state/x", False),
        ("/mnt/with space/x", True),
        ("/over/x", False),
    ],
)
def test_the_nearest_mount_decides(folder: str, expected: bool) -> None:
    """Of two at one place the later; the folder need not be there yet."""
    assert expected == is_in_memory(Path(folder))


@pytest.mark.usefixtures("_mounts")
def test_a_link_is_followed(tmp_path: Path) -> None:
    """What counts is where it leads."""
    (tmp_path / "link").symlink_to("/dev/shm")
    assert is_in_memory(tmp_path / "link" / "state")


@pytest.mark.parametrize("content", [None, "", "\udcff / tmpfs"])
def test_what_is_not_known_is_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    """A system without such a table, or with an odd one."""
    table = tmp_path / "mounts"
    if content is not None:
        table.write_text(content, errors="surrogateescape")
    monkeypatch.setattr(volume, "_MOUNTS", table)
    assert (content or "").endswith("tmpfs") == is_in_memory(Path("/var"))


@pytest.mark.usefixtures("_mounts")
def test_memory_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """With what it costs and what to set; a disk is not."""
    with caplog.at_level(logging.WARNING, "otel_realtime"):
        warn_if_in_memory(Path("/var/state"))
        warn_if_in_memory(Path("/dev/shm/state"))
    (message,) = caplog.messages
    assert "/dev/shm/state is in memory" in message
    assert "OTEL_REALTIME_STATE_DIR" in message


@pytest.mark.usefixtures("_mounts")
@pytest.mark.parametrize(
    ("folder", "expected"), [("/var", "overlay"), ("/dev/shm/a", "tmpfs"), ("/run/state", "ext4")]
)
def test_the_kind_is_the_kernels_name(folder: str, expected: str) -> None:
    """Of the nearest mount."""
    assert expected == kind_of(Path(folder))
