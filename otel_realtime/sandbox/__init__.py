"""A local stand-in for LangSmith that reports every broken rule of its contract.

``Sandbox`` runs it in a thread; ``otel-realtime sandbox`` in the foreground. Needs the extra
``sandbox``.
"""

from otel_realtime.sandbox.server import Sandbox

__all__ = ["Sandbox"]
