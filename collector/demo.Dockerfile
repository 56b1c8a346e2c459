# The sandbox (a local stand-in for LangSmith) and the demo conversation, for the compose file's profile.
# (demo.released.Dockerfile is the same without a checkout.)
FROM python:3.13.9-slim
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY otel_realtime otel_realtime
RUN pip install --no-cache-dir ".[demo]" \
    && useradd --uid 10001 --create-home app \
    && install -d -o app -g app /data
USER 10001
VOLUME /data
ENTRYPOINT ["otel-realtime"]
