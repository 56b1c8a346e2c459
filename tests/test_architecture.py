"""The house rules: one way down, no circle, a pure core, every name once."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import otel_realtime
from otel_realtime import attributes

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "otel_realtime"

#: Who may import whom: a layer imports its own modules and those of the layers below it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("cli", "__main__", "demo", "doctor", "talk"),
    ("viewing", "replaying", "collector_files"),
    ("__init__",),
    ("langsmith_compat",),
    ("setup", "twilio"),
    ("conversation",),
    ("process",),
    ("exporting",),
    ("recovery",),
    ("langsmith",),
    ("tracing",),
    ("editing",),
    ("delivery",),
    ("recording",),
    ("state",),
    ("settings", "tap", "clock"),
    ("calls",),
    ("core",),
    ("background",),
    ("diagnostics",),
    ("console", "errors", "attributes", "version", "interrupts", "credentials"),
)
#: A program of its own beside the package: it stands in for LangSmith and knows nothing of us.
APART = frozenset({"sandbox"})
#: What the sandbox may use.
FOR_SANDBOX = frozenset(
    {"sandbox", "calls", "console", "settings", "errors", "version", "attributes", "diagnostics"}
)
#: Imports inside functions, for start-up cost only: what brings numpy, requests, a server or an SDK; and
#: what only conversations need, which is most of the package.
LAZY = frozenset(
    {
        ("cli.commands.demo", "demo.run"),
        ("cli.commands.doctor", "doctor.command"),
        ("cli.commands.export", "exporting.command"),
        ("cli.commands.init", "collector_files"),
        ("cli.commands.recover", "recovery.command"),
        ("cli.commands.redact", "editing.command"),
        ("cli.commands.report", "viewing.command"),
        ("cli.commands.replay", "replaying.command"),
        ("cli.commands.sandbox", "sandbox.command"),
        ("cli.commands.view", "viewing.command"),
        ("cli.commands.talk", "talk.command"),
        ("conversation.announce", "conversation.announced"),
        ("conversation.announce", "conversation.null"),
        ("conversation.arguments", "core.audio.formats"),
        ("conversation.arguments", "recording.buffers"),
        ("conversation.arguments", "recording.track"),
        ("conversation.engine", "recovery.call"),
        ("conversation.services", "conversation.sockets"),
        ("delivery.attachments", "recording.resample"),
        ("delivery.finisher", "delivery.attachments"),
        ("delivery.finisher", "recording.render"),
        ("langsmith.http", "delivery.transport"),
        ("langsmith.route", "langsmith.backend"),
        ("langsmith.route", "langsmith.spooled"),
        ("process.process", "delivery.finisher"),
        ("process.process", "langsmith.route"),
        ("process.process", "recording.writer"),
        ("process.recoveries", "recovery.handover"),
        ("process.recoveries", "recovery.sweep"),
        ("recovery.deliver", "delivery.attachments"),
        ("recovery.deliver", "langsmith.delivery"),
        ("recovery.deliver", "langsmith.exporter"),
        ("talk.destination", "sandbox"),
    }
)
#: Modules that are tested under another name; everything else has a test file of its own name.
TESTED_BY: dict[str, str] = {
    "attributes": "test_architecture.py",  # names only: each is used, and none stands elsewhere
    "version": "test_cli.py",
    # A call object is one thing, built from its spans.
    "calls.events": "calls/test_from_spans.py",
    "calls.membership": "calls/test_from_spans.py",
    "calls.metadata": "calls/test_from_spans.py",
    "calls.parts": "calls/test_from_spans.py",
    "calls.turns": "calls/test_from_spans.py",
    "calls.usage": "calls/test_from_spans.py",
    # A command is its options; what it does is tested where it is done.
    "cli.app": "test_cli.py",
    "cli.commands.demo": "test_cli.py",
    "cli.commands.doctor": "doctor/test_command.py",
    "cli.commands.export": "test_cli.py",
    "cli.commands.init": "test_collector_files.py",
    "cli.commands.recover": "test_cli.py",
    "cli.commands.redact": "test_cli.py",
    "cli.commands.replay": "test_cli.py",
    "cli.commands.report": "viewing/test_command.py",
    "cli.commands.sandbox": "test_cli.py",
    "cli.commands.talk": "test_cli.py",
    "cli.commands.view": "viewing/test_command.py",
    "cli.help": "test_cli.py",
    "cli.options": "test_cli.py",
    # The engine is what every way in leads to.
    "conversation.announced": "conversation/test_announce.py",
    "conversation.context": "conversation/test_announce.py",
    "conversation.engine": "conversation/test_public.py",
    "conversation.frames": "e2e/test_ways_in.py",
    "conversation.null": "conversation/test_public.py",
    "conversation.paths": "conversation/test_sockets.py",
    "conversation.running": "tap/test_agents.py",
    "conversation.services": "conversation/test_public.py",
    "core.audio.parts": "core/audio/test_played_reports.py",
    "core.protocol.changes": "core/protocol/test_state.py",  # what its steps report
    "core.protocol.mcp": "tracing/test_mcp.py",
    "core.protocol.pause": "privacy/test_pause.py",
    # The scripted server is one thing, seen from its socket.
    "demo.generation": "demo/test_server.py",
    "demo.items": "demo/test_server.py",
    "demo.listening": "demo/test_server.py",
    "demo.make_voices": "demo/test_speech.py",  # what needs no speech synthesiser
    "demo.mcp": "demo/test_assistant.py",
    "demo.scenario": "demo/test_story.py",
    "demo.session": "demo/test_server.py",
    "demo.wire": "demo/test_server.py",
    "doctor.checks": "doctor/test_command.py",  # the table of what the command runs
    "doctor.children": "doctor/test_sound.py",  # what runs in a process of its own
    "doctor.live.answers": "doctor/live/test_command.py",  # one experiment, from end to end
    "doctor.live.experiment": "doctor/live/test_command.py",
    "doctor.live.reading": "doctor/live/test_command.py",
    "doctor.model": "doctor/test_command.py",
    # What is exported is one thing, from any source to its files.
    "exporting.audio": "exporting/test_command.py",
    "exporting.files": "exporting/test_command.py",
    "exporting.sources": "exporting/test_command.py",
    "langsmith_compat.block": "langsmith_compat/test_connections.py",  # what both wrappers share
    # A recovery is one sweep, from a folder to its destinations.
    "recovery.command": "recovery/test_sweep.py",
    "recovery.deliver": "recovery/test_sweep.py",
    "recovery.rebuild": "recovery/test_sweep.py",
    "replaying.exports": "replaying/test_command.py",
    "replaying.feed": "replaying/test_command.py",
    "replaying.result": "replaying/test_command.py",
    # So is the sandbox: what was sent, what it reports, what it shows.
    "sandbox.app": "sandbox/test_reading.py",
    "sandbox.bare_call": "viewing/test_kept.py",
    "sandbox.bodies": "sandbox/test_runs_api.py",
    "sandbox.call_rows": "sandbox/test_page_api.py",
    "sandbox.foreground": "sandbox/test_command.py",
    "sandbox.ingest_otlp": "sandbox/test_mapping.py",
    "sandbox.ingest_runs": "sandbox/test_runs_api.py",
    "sandbox.json_in": "sandbox/test_hostile.py",
    "sandbox.langsmith_shape": "sandbox/test_reading.py",
    "sandbox.ledger": "sandbox/test_contract.py",
    "sandbox.media": "sandbox/test_contract.py",
    "sandbox.model": "sandbox/test_mapping.py",
    "sandbox.otlp": "sandbox/test_mapping.py",
    "sandbox.queries": "sandbox/test_reading.py",
    "sandbox.rows": "sandbox/test_reading.py",
    "sandbox.span_rules": "sandbox/test_contract.py",
    "sandbox.store": "sandbox/test_reading.py",
    "sandbox.times": "sandbox/test_runs_api.py",
    "sandbox.tree": "sandbox/test_contract.py",
    "setup.configure": "e2e/test_processes.py",
    "setup.destinations": "replaying/test_command.py",
    "setup.fallback": "langsmith_compat/test_arguments.py",
    "setup.instrumentor": "e2e/test_ways_in.py",
    "talk.result": "talk/test_command.py",  # what the command prints at its end
    "tap.callers": "tap/test_wrappers.py",
    "tap.interface": "tap/test_closing.py",  # types only: what the recording observer is told
    "tap.link": "tap/test_closing.py",
    "tap.patches": "tap/test_install.py",
    "tap.timers": "tap/test_closing.py",
    "tap.tools": "tap/test_agents.py",  # what brackets a tool, at a framework that is always here
    "tracing.handoff": "tap/test_agents.py",
    "tracing.run_metadata": "tracing/test_facts.py",
    "viewing.server": "viewing/test_command.py",
}


@dataclass(frozen=True)
class Import:
    """One module imports another; ``lazy`` inside a function."""

    source: str
    target: str
    line: int
    lazy: bool


def module_name(path: Path) -> str:
    """``core.audio.player``; a package is named by its folder, the door is ``__init__``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def resolve(name: str) -> str | None:
    """The module of the package that an import names, if it is one."""
    if name == "otel_realtime":
        return "__init__"
    if not name.startswith("otel_realtime."):
        return None
    inner = name.removeprefix("otel_realtime.")
    while inner and inner not in MODULES:
        inner = inner.rpartition(".")[0]
    return inner or "__init__"


def imports_of(module: str, path: Path) -> Iterator[Import]:
    """Every import of a module, those under TYPE_CHECKING and inside functions too."""
    tree = ast.parse(path.read_text())
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            target = resolve(name)
            if target is not None and target != module:
                yield Import(module, target, node.lineno, id(node) in inside)


IMPORTS = [found for module, path in MODULES.items() for found in imports_of(module, path)]


def layer_of(module: str) -> int:
    """The number of a module's layer, counted from the top."""
    top = module.split(".")[0]
    for number, names in enumerate(LAYERS):
        if top in names:
            return number
    raise AssertionError(f"{module} stands in no layer")


def test_every_folder_has_its_layer() -> None:
    """A new room is put on the plan first."""
    tops = {module.split(".")[0] for module in MODULES}
    assert tops - APART == {name for names in LAYERS for name in names} - (
        set() if "__main__" in tops else {"__main__"}
    )


def test_imports_go_down() -> None:
    """Lazy and type-only imports counted."""
    climbing = [
        f"{found.source}:{found.line} imports {found.target}"
        for found in IMPORTS
        if found.source.split(".")[0] not in APART
        and found.target.split(".")[0] not in APART
        and layer_of(found.target) < layer_of(found.source)
    ]
    assert [] == climbing


def test_the_sandbox_stands_apart() -> None:
    """Only the commands start it, `view` shares its page, and it knows nothing of what it receives from."""
    users = {found.source.split(".")[0] for found in IMPORTS if found.target.startswith("sandbox")}
    assert {"sandbox", "cli", "demo", "talk", "viewing"} == users
    used = {found.target.split(".")[0] for found in IMPORTS if found.source.startswith("sandbox")}
    assert set() == used - FOR_SANDBOX


def test_no_circle() -> None:
    """Not even inside a folder."""
    edges: dict[str, set[str]] = defaultdict(set)
    for found in IMPORTS:
        if not found.source.startswith(found.target + "."):  # a module and its own package
            edges[found.source].add(found.target)
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for target in sorted(edges[module]):
                visit(target, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


def test_sound_knows_no_protocol() -> None:
    """The two halves of the core meet outside of it."""
    assert not [
        found
        for found in IMPORTS
        if found.source.startswith("core.audio") and found.target.startswith("core.protocol")
    ]


def test_tracing_and_delivery_know_no_backend() -> None:
    """Another backend than LangSmith is one folder."""
    below = {"tracing", "delivery", "recording", "state"}
    assert not [
        found
        for found in IMPORTS
        if found.source.split(".")[0] in below and found.target.startswith("langsmith")
    ]


def test_lazy_imports_are_for_start_up_cost() -> None:
    """From a short list; nothing hides a climb or a circle."""
    lazy = {(found.source, found.target) for found in IMPORTS if found.lazy}
    lazy = {pair for pair in lazy if pair[0].split(".")[0] not in {"sandbox", "demo"}}
    assert LAZY == lazy


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("core/protocol/planted.py", "import asyncio"),
        ("core/audio/planted.py", "import threading"),
        ("core/protocol/planted.py", "from opentelemetry import trace"),
        ("core/planted.py", "from time import monotonic"),
        ("core/audio/planted.py", "import os.path"),
    ],
)
def test_an_impure_core_module_fails_the_lint(tmp_path: Path, where: str, line: str) -> None:
    """The rule is held by ruff, not by good will: a planted module is found."""
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed")
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    planted = tmp_path / "otel_realtime" / where
    planted.parent.mkdir(parents=True)
    planted.write_text(f'"""Planted."""\n\nfrom __future__ import annotations\n\n{line}\n')
    outside = tmp_path / "otel_realtime" / "tap" / "planted.py"
    outside.parent.mkdir(parents=True)
    outside.write_text(planted.read_text())
    found = subprocess.run(
        [ruff, "check", "--select", "TID251", "--output-format", "concise", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    reported = [text for text in found.stdout.splitlines() if "TID251" in text]
    assert 1 == len(reported), found.stdout
    assert reported[0].startswith(f"otel_realtime/{where}")


def test_every_logger_is_one_without_credentials() -> None:
    """``diagnostics.logger_of`` makes them; a filter of a logger does not hold for those below it."""
    direct = [name for name, path in MODULES.items() if "logging.getLogger(" in path.read_text()]
    assert ["diagnostics"] == [
        name for name in direct if name.split(".")[0] not in APART | {"demo"}
    ]


PROMISED = [
    "ConfigError",
    "Conversation",
    "DeliveryError",
    "OpenAIRealtimeInstrumentor",
    "OtelRealtimeError",
    "RecordingError",
    "Settings",
    "__version__",
    "aflush",
    "configure",
    "conversation",
    "current_conversation",
    "flush",
    "instrument",
    "shutdown",
    "uninstrument",
    "using",
]


def test_the_public_names_are_the_promised_ones() -> None:
    """Sorted, complete, and each of them is there."""
    assert PROMISED == otel_realtime.__all__
    assert all(hasattr(otel_realtime, name) for name in PROMISED)


def test_every_attribute_constant_is_used() -> None:
    """A name that nobody writes is no name."""
    text = "\n".join(
        path.read_text()
        for name, path in MODULES.items()
        if name != "attributes" and name.split(".")[0] not in APART
    )
    constants = [name for name in vars(attributes) if name.isupper()]
    for group in (attributes.Fact, attributes.RootFact, attributes.Meta):
        constants += [f"{group.__name__}.{name}" for name in vars(group) if name.isupper()]
    assert [] == [name for name in constants if not re.search(rf"\b{re.escape(name)}\b", text)]


#: Beginnings of attribute names; ``otel_realtime.`` is also the package's own.
PREFIXES = ("gen_ai.", "langsmith.", "ls_", "otel_realtime.")
#: Literals that look like attributes and are none.
NOT_ATTRIBUTES = frozenset(
    {
        "langsmith.run_helpers",  # LangSmith's own modules, looked up when they are loaded
        "langsmith.run_trees",
        "langsmith.client",
        "langsmith.integrations.openai_realtime",
        "langsmith.",
        "langsmith.api",  # results of `otel-realtime doctor`
        "langsmith.key",
        "langsmith.otlp",
        "langsmith.project",
        "langsmith.workspace",
        "otel_realtime.conversation",  # context keys
        "otel_realtime.frame",
        "otel_realtime.",
    }
)


def test_no_attribute_literal_stands_elsewhere() -> None:
    """Every attribute, metadata key and metric is named once, in ``attributes``."""
    found = []
    for module, path in MODULES.items():
        if module == "attributes" or module.split(".")[0] in APART | {"demo"}:
            continue
        tree = ast.parse(path.read_text())
        docs = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in docs
                and node.value.startswith(PREFIXES)
                and " " not in node.value
                and node.value not in NOT_ATTRIBUTES
                and node.value.removeprefix("otel_realtime.") not in MODULES  # imported ahead
            ):
                found.append(f"{module}:{node.lineno} {node.value}")
    assert [] == found


def own_test_of(module: str) -> Path:
    """``core.audio.player`` is tested by ``tests/core/audio/test_player.py``."""
    *folders, name = module.split(".")
    return REPOSITORY.joinpath("tests", *folders, f"test_{name}.py")


def test_every_module_has_its_tests() -> None:
    """In the place that mirrors its own, or in the one that the table names."""
    missing = []
    for module, path in MODULES.items():
        if path.name in {"__init__.py", "__main__.py"} or path.stat().st_size < 100:
            continue
        named = TESTED_BY.get(module)
        wanted = REPOSITORY / "tests" / named if named else own_test_of(module)
        if not wanted.is_file():
            missing.append(module)
    assert [] == missing


def test_the_table_of_tests_names_exceptions_only() -> None:
    """Modules that are there and have no test file of their own, in the order of the folders."""
    assert set() == TESTED_BY.keys() - MODULES.keys()
    assert [] == [module for module in TESTED_BY if own_test_of(module).is_file()]
    assert sorted(TESTED_BY, key=lambda module: ("." in module, module)) == list(TESTED_BY)
