"""The ``otel-realtime`` command: parses the arguments and calls the library."""

from otel_realtime.cli.app import main

__all__ = ["main"]
