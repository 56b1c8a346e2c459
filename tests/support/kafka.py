"""A real Kafka of several brokers as child processes on loopback, KRaft mode, in a folder of the test's.

Each broker is its own controller as well, with a heap of 256 MB. Topics are made and consumer groups
read with Kafka's own tools.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.processes import Process, clean_environment, free_ports
from tests.support.waiting import wait_for

_CLUSTER_ID: Final = "b3RlbC1yZWFsdGltZS1rYQ"
_HEAP: Final = "-Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
_TOOL: Final = "-Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
_LOGGING: Final = """\
appenders=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %m (%c)%n
rootLogger.level={level}
rootLogger.appenderRefs=out
rootLogger.appenderRef.out.ref=out
"""
#: What the shell scripts of Kafka's distribution run.
TOOLS: Final = {
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-consumer-groups.sh": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
}


class Broker(Process):
    """One broker; ready when its log says that it serves."""

    def begin(self) -> None:
        """Start it, again after :meth:`kill`, without waiting."""
        self._seen = len(self.text()) if self.log.exists() else 0
        self.spawn()

    def ready(self, timeout_s: float = 60) -> None:
        """Wait until it serves."""

        def serves() -> bool:
            text = self.text()[self._seen :]
            assert self.running(), f"ended at once: {text[-2000:]}"
            return "Kafka Server started" in text

        wait_for(serves, "a broker", timeout_s=timeout_s, every_s=0.2)


@dataclass(frozen=True)
class Secured:
    """How clients come in where they need a password.

    Attributes:
        identity: a file with the broker's certificate and its PKCS #8 key.
        user: who may come in.
        password: with which.
    """

    identity: Path
    user: str
    password: str


class Kafka:
    """A cluster of brokers; all end with the ``with`` block.

    Args:
        program: runs Kafka's classes (:data:`tests.platform.kafka_jars.KAFKA`).
        folder: the brokers' data and logs go there.
        count: brokers; every topic has as many replicas, and a write needs all but one.
        secured: whether the one broker has a listener with TLS and SCRAM as well.
    """

    def __init__(
        self, program: Path, folder: Path, count: int = 3, secured: Secured | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._program, self._folder, self._secured = program, folder, secured
        *ports, self._client_port = free_ports(2 * count + 1)
        self.addresses = [f"127.0.0.1:{port}" for port in ports[:count]]
        self.brokers: list[Broker] = []
        for level in ("INFO", "ERROR"):
            (folder / f"{level}.properties").write_text(_LOGGING.format(level=level))
        voters = ",".join(f"{i}@127.0.0.1:{port}" for i, port in enumerate(ports[count:], 1))
        for number, (address, control) in enumerate(
            zip(self.addresses, ports[count:], strict=True), 1
        ):
            self._configure(number, address, control, voters, count)
            command = [program, "kafka.Kafka", folder / f"{number}.properties"]
            self.brokers.append(
                Broker(command, folder / f"broker-{number}.log", self._env(_HEAP, "INFO"))
            )

    def _env(self, options: str, level: str) -> dict[str, str]:
        logging = f"-Dlog4j2.configurationFile={self._folder / f'{level}.properties'}"
        return clean_environment(KAFKA_OPTS=f"{options} {logging}")

    def _configure(self, number: int, address: str, control: int, voters: str, count: int) -> None:
        settings = {
            "process.roles": "broker,controller",
            "node.id": number,
            "listeners": f"PLAINTEXT://{address},CONTROLLER://127.0.0.1:{control}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": voters,
            "log.dirs": self.data(number),
            "auto.create.topics.enable": "false",
            "default.replication.factor": count,
            "min.insync.replicas": max(1, count - 1),
            "offsets.topic.replication.factor": count,
            "offsets.topic.num.partitions": 3,
            "num.io.threads": 2,
            "num.network.threads": 2,
            "group.initial.rebalance.delay.ms": 0,
            # A broker that was killed is given up after 6 s, not 9.
            "broker.session.timeout.ms": 6000,
        }
        if self._secured is not None:
            settings |= self._clients(str(settings["listeners"]), self._secured)
        lines = "".join(f"{key}={value}\n" for key, value in settings.items())
        (self._folder / f"{number}.properties").write_text(lines)

    def _clients(self, listeners: str, secured: Secured) -> dict[str, object]:
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        return {
            "listeners": f"{listeners},CLIENT://{self.secured_address}",
            "listener.security.protocol.map": (
                "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENT:SASL_SSL"
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.client.scram-sha-512.sasl.jaas.config": scram,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": secured.identity,
        }

    @property
    def secured_address(self) -> str:
        """Where a cluster of one broker takes clients by TLS and SCRAM."""
        return f"127.0.0.1:{self._client_port}"

    def data(self, number: int) -> Path:
        """The folder of a broker's data."""
        return self._folder / f"data-{number}"

    @property
    def bootstrap(self) -> str:
        """The brokers' addresses as a client takes them."""
        return ",".join(self.addresses)

    def __enter__(self) -> Kafka:
        numbers = range(1, len(self.brokers) + 1)
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._format, numbers))
        for broker in self.brokers:
            broker.begin()
        try:
            for broker in self.brokers:
                broker.ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for broker in self.brokers:
            broker.kill()

    def _format(self, number: int) -> None:
        settings = self._folder / f"{number}.properties"
        command = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(settings)]
        if self._secured is not None:
            user = f"name={self._secured.user},password={self._secured.password}"
            command += ["--add-scram", f"SCRAM-SHA-512=[{user}]"]
        self._run(*command)

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._program, *arguments],
            env=self._env(_TOOL, "ERROR"),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def tool(self, script: str, arguments: Sequence[str]) -> str:
        """Run what a script of the distribution runs, against this cluster."""
        return self._run(TOOLS[script], "--bootstrap-server", self.bootstrap, *arguments)

    def lag(self, group: str) -> int:
        """How many records a consumer group has not read yet; those of a partition it never read too."""
        text = self.tool("kafka-consumer-groups.sh", ["--describe", "--group", group])
        rows = [line.split() for line in text.splitlines() if line.strip()]
        header = next(row for row in rows if "LAG" in row)
        read, end = header.index("CURRENT-OFFSET"), header.index("LOG-END-OFFSET")
        found = [[row[end], row[read].replace("-", "0")] for row in rows if row[0] == group]
        return sum(int(last) - int(done) for last, done in found)

    def disk(self, topic: str) -> int:
        """The bytes of a topic's records on all brokers."""
        return sum(
            path.stat().st_size
            for number in range(1, len(self.brokers) + 1)
            for path in self.data(number).glob(f"{topic}-*/*.log")
        )
