"""Silences recordings that exist: files that were kept, and conversations that wait for delivery.

``otel-realtime redact`` is the only user. Recordings of conversations that go on are silenced by
``Conversation.redact_audio()``.
"""
