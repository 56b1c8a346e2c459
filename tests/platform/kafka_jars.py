"""Kafka from its own jars: Maven fetches them once into the cache, a script there runs their classes.

Needs Java 17 and Maven (Debian: ``openjdk-17-jre-headless maven``). Standard library only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.e2e.binaries import Binary

KAFKA_VERSION: Final = "4.1.1"
# The broker, the tools behind kafka-topics.sh and kafka-consumer-groups.sh, and what writes its log.
_ARTIFACTS: Final = (
    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
    ("org.apache.kafka", "kafka-tools", KAFKA_VERSION),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
)
_DEPENDENCY: Final = "<dependency><groupId>{0}</groupId><artifactId>{1}</artifactId><version>{2}</version></dependency>"
_POM: Final = (
    '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    "<groupId>tests</groupId><artifactId>kafka</artifactId><version>1</version>"
    "<dependencies>{dependencies}</dependencies></project>"
)
_SCRIPT: Final = '#!/bin/sh\nexec java $KAFKA_OPTS -cp "{jars}/*" "$@"\n'


def _build_kafka(target: Path) -> None:
    """Fetch the jars beside ``target`` and write the script that runs one of their classes."""
    jars = target.with_name(f"{target.name}-jars")
    with tempfile.TemporaryDirectory() as folder:
        pom = Path(folder) / "pom.xml"
        dependencies = "".join(_DEPENDENCY.format(*artifact) for artifact in _ARTIFACTS)
        pom.write_text(_POM.format(dependencies=dependencies))
        command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
        print("+", *command, file=sys.stderr, flush=True)
        try:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        except FileNotFoundError:
            raise SystemExit(
                "Kafka's jars are fetched with Maven: install it and Java 17"
            ) from None
    target.write_text(_SCRIPT.format(jars=jars))
    target.chmod(0o755)


KAFKA: Final = Binary(
    variable="KAFKA_BIN",
    names=(),
    cached_as=f"kafka-{KAFKA_VERSION}",
    build=_build_kafka,
)
"""Runs a class of Kafka's: ``kafka-4.1.1 kafka.Kafka server.properties``."""
