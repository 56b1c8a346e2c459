"""A loopback LangSmith and a provider with our processor."""

from __future__ import annotations

from tests.support.rig import config, rig, server

__all__ = ["config", "rig", "server"]
