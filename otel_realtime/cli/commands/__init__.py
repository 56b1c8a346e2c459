"""The commands by name, one file each: it defines the options and calls the code that does the work.

A command imports that code only when it runs, so ``--help`` needs no server and no audio library.
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
