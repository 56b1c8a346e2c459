"""``otel-realtime demo``: a scripted Realtime server, a small voice app, and a check of its trace."""
