#!/bin/sh
# Prepares the Collector's volume before the Collector starts; the Collector's own image has no shell.
#
# A fresh named volume belongs to root while the Collector runs as 10001, so its queue directory is made
# here. And a config file cannot ask whether LANGSMITH_API_KEY is set, a shell can: without the key the
# overlay config.jaeger-only.yaml is put where the Collector reads its last --config from, else an empty one.
#
# Needs no capability but CHOWN: root without the others may write only what is its own. So the volume
# stays root's, or becomes it again, and only the queue directory is the Collector's.
set -eu
umask 022

config=${1:-/etc/otelcol}
data=${2:-/var/lib/otelcol}
owner=${3:-10001:10001}

mkdir -p "$data"
chown "$(id -u):$(id -g)" "$data"
mkdir -p "$data/queue"
chown "$owner" "$data/queue"
rm -f "$data/destinations.yaml"
if [ -n "${LANGSMITH_API_KEY:-}" ]; then
    echo '{}' > "$data/destinations.yaml"
    echo "otelcol: LANGSMITH_API_KEY is set: traces go to LangSmith and to Jaeger"
else
    cat "$config/config.jaeger-only.yaml" > "$data/destinations.yaml"
    echo "otelcol: LANGSMITH_API_KEY is not set: traces go to Jaeger only"
fi
