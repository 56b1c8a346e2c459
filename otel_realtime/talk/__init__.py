"""``otel-realtime talk``: a conversation by microphone and speaker, traced and recorded."""
