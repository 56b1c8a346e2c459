"""The ``otel-realtime`` command: parses the arguments and calls the library."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from otel_realtime.errors import OtelRealtimeError
from otel_realtime.version import VERSION


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        # Fixed, so that `python -m otel_realtime` shows the name to type, not "__main__.py".
        prog="otel-realtime",
        description="Tracing and stereo recording of OpenAI Realtime voice conversations.",
    )
    parser.add_argument("--version", action="version", version=f"otel-realtime {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    _demo(commands.add_parser("demo", help="run a scripted voice conversation and show its trace"))
    _sandbox(commands.add_parser("sandbox", help="run a local stand-in for LangSmith"))
    _recover(commands.add_parser("recover", help="deliver conversations left by a crashed process"))
    _redact(commands.add_parser("redact", help="silence a part of a recording"))
    return parser


def _recover(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Ends and delivers the conversations of crashed processes, including their recordings, "
        "and resends spans that LangSmith has not accepted yet. The destination comes from the "
        "environment: LANGSMITH_*, OTEL_EXPORTER_OTLP_*. Exits with 0 if nothing is left to "
        "deliver, with 1 if something is left, with 2 if the state directory cannot be read. "
        "Spans without a destination are left."
    )
    parser.add_argument(
        "--state-dir",
        type=_folder,
        metavar="DIR",
        help="the state directory (default: OTEL_REALTIME_STATE_DIR)",
    )
    parser.add_argument(
        "--json", action="store_true", help="write the report to standard output as JSON"
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=300.0,
        metavar="SECONDS",
        help="stop waiting after this time in total (default: %(default)g)",
    )


def _redact(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Silences a stretch of a recording without changing its length: a WAV, FLAC or Ogg Opus file, "
        "or a conversation that waits for its delivery. Exits with 0 if it is silenced everywhere, "
        "with 1 if it is not."
    )
    parser.add_argument(
        "recording",
        metavar="CONVERSATION|FILE",
        help="a file, or a conversation by its thread id, trace id, run id or name",
    )
    parser.add_argument(
        "--from",
        dest="start",
        required=True,
        metavar="TIME",
        help="where the stretch begins: seconds, or mm:ss, such as 62.5 or 1:02.5",
    )
    parser.add_argument(
        "--to", dest="end", required=True, metavar="TIME", help="where the stretch ends"
    )
    parser.add_argument(
        "--side", choices=("user", "agent"), help="silence this side only (default: both)"
    )
    parser.add_argument("--beep", action="store_true", help="put a beep in its place")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write the result to this file (default: in place)",
    )
    parser.add_argument(
        "--recordings-dir",
        metavar="DIR",
        help="where recordings are kept (default: OTEL_REALTIME_RECORDINGS_DIR)",
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        help="the state directory (default: OTEL_REALTIME_STATE_DIR)",
    )


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs a voice conversation between the real openai client and a scripted Realtime server "
        "on this machine, and shows its trace and recording in the sandbox. No API keys needed."
    )
    parser.add_argument("--fast", action="store_true", help="run a shorter conversation")
    parser.add_argument(
        "--long",
        action="store_true",
        help="run a longer conversation: an idle timeout, an MCP approval, a classification",
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="do not open the page in a browser"
    )
    parser.add_argument(
        "--keep-running", action="store_true", help="keep serving the page until Ctrl-C"
    )
    parser.add_argument(
        "--langsmith",
        action="store_true",
        help="send to LangSmith with your LANGSMITH_API_KEY instead of to the sandbox",
    )
    parser.add_argument(
        "--data-dir",
        type=_folder,
        metavar="DIR",
        help="where to keep the recordings and the sandbox's data (default: .demo)",
    )


def _sandbox(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs a local server that accepts traces as LangSmith does, stores and shows them, and "
        "reports whatever LangSmith would drop or ignore."
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=8321,
        metavar="PORT",
        help="port to listen on, 0 for any free one (default: %(default)s)",
    )
    parser.add_argument(
        "--data-dir",
        type=_folder,
        metavar="DIR",
        help="where to store the data (default: sandbox in the state directory)",
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="do not open the page in a browser"
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        help="key to send and to read with; may be repeated (default: any key sends, and reading "
        "takes none)",
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="further host name under which it is reached; others are refused; may be repeated",
    )


# What an argument may be; argparse names the argument, prints the usage, and exits with 2.


def _folder(text: str) -> Path:
    if not text.strip():  # an unset variable of a script would mean the current directory
        raise argparse.ArgumentTypeError("the name of a folder is empty")
    return Path(os.path.expanduser(text))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_S:  # false for NaN, too
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text!r}")
    return seconds


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= _LAST_PORT):
        raise argparse.ArgumentTypeError(f"not a port: {text!r}")
    return int(text)


#: Ten years: more than anybody waits for, and less than a lock can be waited for.
_LONGEST_S = 315_360_000.0
_LAST_PORT = 65_535


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments without the program's name; None: those of the process.

    Returns:
        The exit code: 0 on success, 1 if the result is incomplete, 2 for a usage or set-up error,
        130 after Ctrl-C, 141 if whoever read the output has gone.
    """
    try:
        options = _parsed(argv)
        code = _COMMANDS[options.command](options)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except ModuleNotFoundError as error:
        # Only a missing extra is the user's to fix; any other missing module is a bug.
        if error.name not in _EXTRAS:
            raise
        print(
            f"otel-realtime {options.command} requires {error.name}: "
            f'pip install "otel-realtime[{_EXTRAS[error.name]}]"',
            file=sys.stderr,
        )
        return 2
    except OtelRealtimeError as error:
        return _fails(error)
    except BrokenPipeError:
        _forget_output()
        return 141  # 128 + SIGPIPE, as shells report it
    except OSError as error:  # a folder, a port or a device that the system refuses
        return _fails(error)
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    try:
        return _parser().parse_args(argv)
    except SystemExit:
        if sys.stdout is not None:
            sys.stdout.flush()  # help that nobody reads any more ends here, and not in a traceback
        raise


def _fails(error: Exception) -> int:
    print(f"otel-realtime: {error}", file=sys.stderr)
    return 2


def _forget_output() -> None:
    """Let the interpreter flush into nothing at its end, where it would print a traceback."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


#: Module -> the extra that installs it.
_EXTRAS = {"starlette": "sandbox", "uvicorn": "sandbox", "python_multipart": "sandbox"}


# Each command imports its module when it runs: --help needs no server and no audio libraries.


def _run_demo(options: argparse.Namespace) -> int:
    from otel_realtime.demo.run import run_demo

    return run_demo(
        fast=options.fast,
        long=options.long,
        browser=not options.no_browser,
        keep_running=options.keep_running,
        langsmith=options.langsmith,
        data_dir=options.data_dir,
    )


def _run_sandbox(options: argparse.Namespace) -> int:
    from otel_realtime.sandbox.command import run

    return run(
        host=options.host,
        port=options.port,
        data_dir=options.data_dir,
        open_browser=not options.no_browser,
        keys=options.key,
        names=options.name,
    )


def _run_recover(options: argparse.Namespace) -> int:
    from otel_realtime.recovery.command import run

    return run(state_dir=options.state_dir, timeout_s=options.timeout, as_json=options.json)


def _run_redact(options: argparse.Namespace) -> int:
    from otel_realtime.editing.command import run

    return run(
        recording=options.recording,
        start=options.start,
        end=options.end,
        side=options.side,
        beep=options.beep,
        out=options.output,
        recordings_dir=options.recordings_dir,
        state_dir=options.state_dir,
    )


_COMMANDS = {
    "demo": _run_demo,
    "sandbox": _run_sandbox,
    "recover": _run_recover,
    "redact": _run_redact,
}

if __name__ == "__main__":
    sys.exit(main())
