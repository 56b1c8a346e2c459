"""``otel-realtime demo``: a scripted Realtime server, a small voice app, a check of its trace."""
