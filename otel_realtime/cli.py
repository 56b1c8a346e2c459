"""The ``otel-realtime`` command. No logic the library lacks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from otel_realtime.errors import OtelRealtimeError
from otel_realtime.version import VERSION


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="otel-realtime",
        description="Tracing and stereo recording of OpenAI Realtime voice conversations.",
    )
    parser.add_argument("--version", action="version", version=f"otel-realtime {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    _demo(commands.add_parser("demo", help="run a scripted voice conversation and look at it"))
    _sandbox(commands.add_parser("sandbox", help="run a local stand-in for LangSmith"))
    _recover(commands.add_parser("recover", help="deliver what a process that died left"))
    return parser


def _recover(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Ends and delivers the conversations of processes that died, with their recordings, and "
        "sends what LangSmith had not accepted. Where to, the environment says: LANGSMITH_*, "
        "OTEL_EXPORTER_OTLP_*. Exit code 0: nothing is left; 1: something is."
    )
    parser.add_argument("--state-dir", type=Path, help="default: OTEL_REALTIME_STATE_DIR")
    parser.add_argument("--json", action="store_true", help="report as JSON on standard output")
    parser.add_argument(
        "--timeout",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="wait for nothing longer than this in all (default: %(default)g)",
    )


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs a voice conversation against a scripted Realtime server on this machine, with the "
        "real openai client, and shows its trace and recording in the sandbox. No keys needed."
    )
    parser.add_argument("--fast", action="store_true", help="a shorter conversation")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    parser.add_argument("--keep-running", action="store_true", help="keep the page up until Ctrl-C")
    parser.add_argument(
        "--langsmith",
        action="store_true",
        help="send to the LangSmith that LANGSMITH_API_KEY names instead of the sandbox",
    )
    parser.add_argument(
        "--data-dir", type=Path, help="where the sandbox keeps its data (default: .demo)"
    )


def _sandbox(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "A local server that takes what LangSmith takes, keeps it, shows it, and reports "
        "whatever LangSmith would have dropped or ignored."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8321, help="port (default: %(default)s)")
    parser.add_argument(
        "--data-dir", type=Path, help="where its data goes (default: below the state directory)"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None: the process's.

    Returns:
        The exit code: 0 done, 1 it did not come out whole, 2 a usage or set-up error.
    """
    options = _parser().parse_args(argv)
    try:
        return _COMMANDS[options.command](options)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        print(
            f"otel-realtime {options.command} needs {error.name}: "
            f'pip install "otel-realtime[{_EXTRAS[error.name]}]"',
            file=sys.stderr,
        )
        return 2
    except OtelRealtimeError as error:
        print(f"otel-realtime: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


#: Module -> the extra that brings it.
_EXTRAS = {"starlette": "sandbox", "uvicorn": "sandbox", "python_multipart": "sandbox"}


def _run_demo(options: argparse.Namespace) -> int:
    from otel_realtime.demo.run import run_demo

    return run_demo(
        fast=options.fast,
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
    )


def _run_recover(options: argparse.Namespace) -> int:
    from otel_realtime.recovery.command import run

    return run(state_dir=options.state_dir, timeout_s=options.timeout, as_json=options.json)


_COMMANDS = {"demo": _run_demo, "sandbox": _run_sandbox, "recover": _run_recover}

if __name__ == "__main__":
    sys.exit(main())
