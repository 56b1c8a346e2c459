# The demo's image without a checkout: `otel-realtime init collector` writes this as demo.Dockerfile.
ARG PYTHON_IMAGE=python:3.13.9-slim
FROM ${PYTHON_IMAGE}
RUN pip install --no-cache-dir "otel-realtime[demo]==0.1.0" \
    && useradd --uid 10001 --user-group --create-home app \
    && install -d -o app -g app /data
# As a number, so that a platform which admits no root can tell.
USER 10001:10001
VOLUME /data
ENTRYPOINT ["otel-realtime"]
