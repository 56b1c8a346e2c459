"""What a compose file takes from its containers, taken from a process of this machine.

As root on Linux, with ``unshare`` and ``setpriv`` of util-linux: everything but the service's own volumes
is read-only, the other services have their names, the capabilities are gone and cannot come back, and where the file names a user whom the
program's file is open to, the process is that user's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

#: Arguments: the file of host names, folders that stay writable, ``--``, folders that do not, ``--``, the command. Without a
#: folder in the second part, everything else becomes read-only.
_MOUNTS: Final = r"""
set -eu
mount --make-rprivate /
mount --bind "$1" /etc/hosts
shift
writable=" "
while [ "$1" != -- ]; do mount --bind "$1" "$1"; writable="$writable$1 "; shift; done
shift
if [ "$1" = everything ]; then
    shift
    for place in $(cut -d ' ' -f 5 /proc/self/mountinfo); do
        case $place in /proc | /proc/* | /sys | /sys/* | /dev | /dev/*) continue ;; esac
        case $writable in *" $place "*) continue ;; esac
        mount -o remount,bind,ro "$place"
    done
fi
while [ "$1" != -- ]; do mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; shift; done
shift
exec "$@"
"""


def is_possible() -> bool:
    """Return whether this process may do all that."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("setpriv"):
        return False
    tried = subprocess.run(["unshare", "-m", "-n", "true"], capture_output=True, check=False)
    return tried.returncode == 0


def can_run(user: str, program: Path) -> bool:
    """Return whether a user, ``uid:gid``, reaches a program."""
    uid, gid = user.split(":")
    who = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
    return subprocess.run([*who, "test", "-x", program], check=False).returncode == 0


def hardened(
    command: Sequence[str],
    keys: Mapping[str, Any],
    *,
    user: str | None,
    hosts: Path,
    writable: Sequence[Path],
    read_only: Sequence[Path],
) -> list[str]:
    """Return a command that runs another one with no more than its section of the file leaves it.

    Args:
        command: what to run.
        keys: the service's section.
        user: ``uid:gid``; ``None``: the present one.
        hosts: what it sees as ``/etc/hosts``.
        writable: the folders of its volumes.
        read_only: the folders and files that it may only read.
    """
    spaces = ["unshare", "-m"]
    if keys.get("network_mode") == "none":
        spaces.append("-n")
    mounts = [str(hosts), *map(str, writable), "--"]
    mounts += ["everything"] if keys.get("read_only") else []
    mounts += [*map(str, read_only), "--"]
    privileges = ["setpriv"]
    if user is not None:
        uid, gid = user.split(":")
        privileges += [f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
    if keys.get("cap_drop") == ["ALL"]:
        left = [f"+{name.lower()}" for name in keys.get("cap_add", [])]
        privileges += [f"--bounding-set={','.join(['-all', *left])}", "--inh-caps=-all"]
    if "no-new-privileges:true" in keys.get("security_opt", []):
        privileges.append("--no-new-privs")
    return [*spaces, "sh", "-c", _MOUNTS, "sh", *mounts, *privileges, *command]
