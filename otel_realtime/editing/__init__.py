"""Silences stretches of existing recordings: kept files, and conversations that wait for delivery.

Only ``otel-realtime redact`` uses this package. ``Conversation.redact_audio()`` silences the recording
of a conversation that is still running.
"""
