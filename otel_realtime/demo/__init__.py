"""``otel-realtime demo``: a scripted Realtime server, a small voice app, and checks of its trace."""
