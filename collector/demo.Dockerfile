# The sandbox (a local stand-in for LangSmith) and the demo conversation, for the compose file's profile.
# (demo.released.Dockerfile is the same without a checkout.)
ARG PYTHON_IMAGE=python:3.13.9-slim
FROM ${PYTHON_IMAGE}
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY otel_realtime otel_realtime
RUN pip install --no-cache-dir ".[demo]" \
    && useradd --uid 10001 --user-group --create-home app \
    && install -d -o app -g app /data
# As a number, so that a platform which admits no root can tell.
USER 10001:10001
VOLUME /data
ENTRYPOINT ["otel-realtime"]
