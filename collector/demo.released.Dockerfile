# The demo's image without a checkout: `otel-realtime init collector` writes this as demo.Dockerfile.
FROM python:3.13.9-slim
RUN pip install --no-cache-dir "otel-realtime[demo]==0.1.0" \
    && useradd --uid 10001 --create-home app \
    && install -d -o app -g app /data
USER 10001
VOLUME /data
ENTRYPOINT ["otel-realtime"]
