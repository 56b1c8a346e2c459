"""The commands by name, one file each: its options, and the call of the part that does the work.

A command imports that part when it runs: ``--help`` needs no server and no audio library.
"""

from __future__ import annotations

from typing import Final

import click

from otel_realtime.cli.commands import (
    demo,
    doctor,
    export,
    init,
    recover,
    redact,
    replay,
    report,
    sandbox,
    talk,
    view,
)

COMMANDS: Final[dict[str, click.Command]] = {
    command.name or "": command
    for command in (
        demo.command,
        sandbox.command,
        view.command,
        report.command,
        talk.command,
        doctor.command,
        replay.command,
        export.command,
        redact.command,
        recover.command,
        init.command,
    )
}
