"""``otel-realtime talk``: a conversation through microphone and speaker, traced and recorded."""
