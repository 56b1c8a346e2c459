"""The configs as files: they parse, fit together, are documented, and are what the compose file runs."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.e2e.conftest import StartCollector
from tests.support.handmade import conversation, send_http
from tests.support.kafka_tier import GATEWAY, TO_BOTH, TO_FILES, TO_JAEGER, TO_LANGSMITH
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import CONFIGS, ROOT, Jaeger, clean_environment
from tests.support.readme import blocks

BASE: Final = ("config.yaml",)
JAEGER_TOO: Final = ("config.yaml", "config.jaeger.yaml")
SETS: Final = {
    "langsmith": BASE,
    "both": JAEGER_TOO,
    "jaeger only": (*JAEGER_TOO, "config.jaeger-only.yaml"),
    "metrics": (*BASE, "config.metrics.yaml"),
    "all": (*JAEGER_TOO, "config.metrics.yaml"),
    "projects": (*BASE, "examples/projects.yaml"),
    "tenants": (*BASE, "examples/tenants.yaml"),
    "kafka, gateway": GATEWAY,
    "kafka to langsmith": TO_LANGSMITH,
    "kafka to jaeger": TO_JAEGER,
    "kafka to both": TO_BOTH,
    "kafka to files": TO_FILES,
    "kafka with tls, gateway": (*GATEWAY, "examples/kafka-tls.yaml"),
    "kafka with tls": (*TO_LANGSMITH, "examples/kafka-tls.yaml"),
    "no content in jaeger": (*JAEGER_TOO, "examples/jaeger-no-content.yaml"),
    "projects of tenants": (*BASE, "examples/tenants.yaml", "examples/projects.yaml"),
    "tempo": (*BASE, "backends/tempo.yaml"),
    "phoenix": (*BASE, "backends/phoenix.yaml"),
    "langfuse": (*BASE, "backends/langfuse.yaml"),
    "second langsmith": (*BASE, "backends/second-langsmith.yaml"),
    "tls": (*BASE, "security/tls.yaml"),
    "mtls": (*BASE, "security/tls.yaml", "security/mtls.yaml"),
    "bearer": (*BASE, "security/tls.yaml", "security/bearer.yaml"),
    "oidc": (*BASE, "security/tls.yaml", "security/oidc.yaml"),
    "many at once": (
        *JAEGER_TOO,
        "security/tls.yaml",
        "security/mtls.yaml",
        "security/oidc.yaml",
        "config.metrics.yaml",
        "examples/tenants.yaml",
        "examples/projects.yaml",
        "examples/jaeger-no-content.yaml",
    ),
}
FILES: Final = sorted({name for names in SETS.values() for name in names})
KINDS: Final = ("receivers", "processors", "exporters", "extensions")


def load(name: str) -> dict[str, Any]:
    """One file of the collector folder."""
    loaded: dict[str, Any] = yaml.safe_load((CONFIGS / name).read_text())
    return loaded


def compose() -> dict[str, Any]:
    """The compose file."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def test_every_config_is_in_a_tested_set() -> None:
    """No file of the folder goes unvalidated; those of other programs have tests of their own."""
    others = {"builder-config.yaml", "jaeger.yaml", "kustomization.yaml"}
    files = [path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.yaml")]
    found = {
        str(path) for path in files if path.name not in others and path.parts[0] != "kubernetes"
    }
    assert set(FILES) == found


def test_the_small_build_has_exactly_the_components_that_are_used() -> None:
    """builder-config.yaml lists every component of the configs and no other."""
    used = {
        (kind, name.split("/")[0])
        for file in FILES
        for kind in KINDS
        for name in load(file).get(kind, {})
    }
    modules = {
        "otlpreceiver": "otlp",
        "kafkareceiver": "kafka",
        "memorylimiterprocessor": "memory_limiter",
        "filterprocessor": "filter",
        "redactionprocessor": "redaction",
        "transformprocessor": "transform",
        "fileexporter": "file",
        "kafkaexporter": "kafka",
        "nopexporter": "nop",
        "otlpexporter": "otlp_grpc",
        "otlphttpexporter": "otlp_http",
        "prometheusexporter": "prometheus",
        "bearertokenauthextension": "bearertokenauth",
        "healthcheckextension": "health_check",
        "oidcauthextension": "oidc",
        "filestorage": "file_storage",
    }
    build = load("builder-config.yaml")
    built = {
        (kind, modules[entry["gomod"].split()[0].rsplit("/", 1)[1]])
        for kind in KINDS
        for entry in build[kind]
    }
    assert used == built


@pytest.mark.parametrize("name", [*FILES, "jaeger.yaml"])
def test_every_variable_of_a_config_is_explained_in_it_or_in_its_base(name: str) -> None:
    """Each ${env:...} stands in a comment at the head of the file or of config.yaml."""
    text = (CONFIGS / name).read_text()
    comments = "\n".join(
        line
        for line in (text + (CONFIGS / "config.yaml").read_text()).splitlines()
        if line.startswith("#")
    )
    variables = set(re.findall(r"\$\{env:([A-Z_]+)", text))
    assert set() == {variable for variable in variables if variable not in comments}


def test_the_collectors_around_kafka_that_the_page_starts_are_tested_sets() -> None:
    """Each command names files that fit together, in their order."""
    commands = [
        line for text in blocks("sh") for line in text.splitlines() if "config.kafka" in line
    ]
    named = [tuple(re.findall(r"--config=(\S+)", line)) for line in commands]
    assert [GATEWAY, TO_LANGSMITH, TO_JAEGER, TO_FILES] == named
    assert set(named) <= set(SETS.values())


def merged_pipelines(names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The pipelines that a set of files makes: maps are merged, lists replaced."""
    found: dict[str, dict[str, Any]] = {}
    for file in names:
        for name, pipeline in load(file).get("service", {}).get("pipelines", {}).items():
            found[name] = found.get(name, {}) | pipeline
    return found


def test_the_memory_limiter_is_first_and_secrets_are_masked_in_every_trace_pipeline() -> None:
    """No pipeline for traces leaves out what protects the Collector and the secrets."""
    shields = ["memory_limiter", "redaction/secrets", "transform/secrets"]
    pipelines = [
        (name, pipeline["processors"])
        for names in SETS.values()
        for name, pipeline in merged_pipelines(names).items()
        if name.startswith("traces") and pipeline.get("exporters") != ["nop"]
    ]
    assert [shields] * len(pipelines) == [processors[:3] for _, processors in pipelines]


@pytest.mark.collector
@pytest.mark.parametrize("key", ["lsv2_pt_test", None], ids=["key", "no key"])
@pytest.mark.parametrize("names", SETS.values(), ids=SETS)
def test_the_collector_accepts_the_configs(
    collector_binary: Path, tmp_path: Path, names: tuple[str, ...], key: str | None
) -> None:
    """Every set passes the Collector's own validation, with and without a key."""
    environment = clean_environment(
        OTELCOL_QUEUE_DIR=str(tmp_path),
        OTELCOL_OIDC_ISSUER="https://127.0.0.1:1",
        KAFKA_USERNAME="gateway",
        KAFKA_PASSWORD="any",
    )
    done = subprocess.run(
        [collector_binary, "validate", *(f"--config={CONFIGS / name}" for name in names)],
        env=environment | ({"LANGSMITH_API_KEY": key} if key else {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def prepare(folder: Path, key: str) -> str:
    """Run the compose file's init step on ``folder`` and return what it says."""
    command = compose()["services"]["otelcol-init"]["command"]
    assert command[1:4] == ["/etc/otelcol/init.sh", "/etc/otelcol", "/var/lib/otelcol"]
    done = subprocess.run(
        ["sh", CONFIGS / "init.sh", CONFIGS, folder, f"{os.getuid()}:{os.getgid()}"],
        env=os.environ | {"LANGSMITH_API_KEY": key},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.collector
@pytest.mark.parametrize(
    ("key", "said", "at_langsmith"),
    [
        ("lsv2_pt_test", "LANGSMITH_API_KEY is set: traces go to LangSmith and to Jaeger", 5),
        ("", "LANGSMITH_API_KEY is not set: traces go to Jaeger only", 0),
    ],
    ids=["key", "no key"],
)
def test_what_compose_runs_serves_the_right_destinations(
    start_collector: StartCollector,
    langsmith: OtlpRecorder,
    jaeger: Jaeger,
    tmp_path: Path,
    key: str,
    said: str,
    at_langsmith: int,
) -> None:
    """The compose file's own files, in its order, send to LangSmith exactly when there is a key."""
    data = tmp_path / "volume"
    assert f"otelcol: {said}" == prepare(data, key)
    command = compose()["services"]["otelcol"]["command"]
    places = {"/etc/otelcol/": f"{CONFIGS}/", "/var/lib/otelcol/": f"{data}/"}
    configs = [option.removeprefix("--config=") for option in command]
    for inside, outside in places.items():
        configs = [config.replace(inside, outside) for config in configs]
    collector = start_collector(
        *configs,
        LANGSMITH_API_KEY=key,
        LANGSMITH_OTLP_ENDPOINT=langsmith.endpoint,
        JAEGER_OTLP_ENDPOINT=jaeger.otlp,
    )
    trace = conversation()
    assert send_http(collector.http, trace)
    assert len(jaeger.wait(trace.trace_id, 5)) == 5
    assert at_langsmith == len(langsmith.wait(at_langsmith))
    assert langsmith.refused == 0
