"""The entry point of all commands: usage, completion, errors, exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import click
from click.shell_completion import get_completion_class, shell_complete

from otel_realtime import console
from otel_realtime.cli.commands import COMMANDS
from otel_realtime.cli.help import Group
from otel_realtime.errors import OtelRealtimeError
from otel_realtime.version import VERSION

#: Fixed, so that `python -m otel_realtime` shows the name to type, not "__main__.py".
PROGRAM: Final = "otel-realtime"
#: Variable that a shell sets to request completions; `--completion` prints the script that sets it.
_COMPLETION: Final = "_OTEL_REALTIME_COMPLETE"
SHELLS: Final = ("bash", "zsh", "fish")

#: Module -> the extra that installs it.
_EXTRAS: Final = {
    "starlette": "sandbox",
    "uvicorn": "sandbox",
    "python_multipart": "sandbox",
    "sounddevice": "audio",
    "soundfile": "audio-formats",
    "langsmith": "langsmith",
    "fsspec": "buckets",
    "s3fs": "buckets",
}

_EXAMPLES: Final = """
  otel-realtime demo  a scripted call, traced, recorded and shown
  otel-realtime recover  deliver what a crashed process left
  otel-realtime COMMAND --help  what a command does, with examples
"""


def _completion(ctx: click.Context, _param: click.Parameter, shell: str | None) -> None:
    """Print the script that makes a shell complete commands and options."""
    if not shell or ctx.resilient_parsing:
        return
    kind = get_completion_class(shell)
    assert kind is not None  # click knows all SHELLS
    console.say(kind(ctx.command, {}, PROGRAM, _COMPLETION).source())
    ctx.exit()


@click.group(
    cls=Group,
    commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EXAMPLES,
    no_args_is_help=False,
)
@click.version_option(VERSION, prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.option(
    "--completion",
    type=click.Choice(SHELLS),
    expose_value=False,
    is_eager=True,
    callback=_completion,
    help='Print the completion script of a shell: eval "$(otel-realtime --completion bash)".',
)
def cli() -> None:
    """Tracing and stereo recording of OpenAI Realtime voice conversations."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments without the program's name; None: those of the process.

    Returns:
        The exit code: 0 on success, 1 if the result is incomplete, 2 for a usage or set-up error,
        130 after Ctrl-C, 141 if the reader of the output has closed the pipe.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    instruction = os.environ.get(_COMPLETION)
    if instruction:
        return _complete(instruction)
    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except ModuleNotFoundError as error:
        # The user can fix only a missing extra; any other missing module is a bug.
        name = (error.name or "").split(".")[0]
        if name not in _EXTRAS:
            raise
        command = f"{PROGRAM} {arguments[0]}"
        console.tell(
            f'{command} requires {name}: pip install "otel-realtime[{_EXTRAS[name]}]"', error=True
        )
        return 2
    except click.UsageError as error:
        return _misused(error)
    except (OtelRealtimeError, click.ClickException) as error:
        console.complain(error)
        return 2
    except BrokenPipeError:
        _forget_output()
        return 141  # 128 + SIGPIPE, as shells report it
    except OSError as error:  # a folder, a port or a device that the system refuses
        console.complain(_refused(error))
        return 2
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT


def _refused(error: OSError) -> str:
    """Describe an error of the system, without its error number."""
    why = error.strerror or str(error) or type(error).__name__
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError:  # a full disk: the rest of the output cannot be written either
            _forget_output()
    return why if error.filename is None else f"cannot use {error.filename}: {why}"


def _complete(instruction: str) -> int:
    """Answer a shell that requests completions."""
    try:
        code = shell_complete(cli, {}, PROGRAM, _COMPLETION, instruction)
    except (KeyError, ValueError):  # other variables of the completion script are missing
        code = 1
    if code:
        console.complain(
            f"{_COMPLETION}={instruction!r} is no question of a shell: unset it; --completion prints "
            "the script that asks"
        )
        return 2
    return 0


def _run(arguments: list[str]) -> int:
    # Not click's own `main`, which treats a closed pipe as a failure.
    try:
        with cli.make_context(PROGRAM, arguments) as context:
            code: Any = cli.invoke(context)
    except click.exceptions.Exit as ended:  # after --help, --version
        return ended.exit_code
    except click.Abort:
        return 130
    return int(code or 0)


def _misused(error: click.UsageError) -> int:
    """Print the usage, and in the last line the problem with the arguments."""
    if error.ctx is not None:
        console.tell(error.ctx.get_usage(), error=True)
        console.tell(f"Try '{error.ctx.command_path} --help'.", error=True)
    command = error.ctx.command_path if error.ctx is not None else PROGRAM
    told = error.format_message()
    console.tell(f"{command}: {told.replace(chr(10), ' ')}", error=True)
    return 2


def _forget_output() -> None:
    """Redirect standard output to the null device; otherwise the interpreter's last flush would fail."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
