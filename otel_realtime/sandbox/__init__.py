"""A local stand-in for LangSmith that reports every violation of its ingest contract.

``Sandbox`` runs it in a background thread; the command ``otel-realtime sandbox`` runs it in the
foreground. Requires the ``sandbox`` extra.
"""

from otel_realtime.sandbox.server import Sandbox

__all__ = ["Sandbox"]
