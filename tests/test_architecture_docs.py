"""The page on the architecture is held against the code that it describes."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from otel_realtime.conversation import engine, sockets
from otel_realtime.conversation.engine import CLOSE_BUDGET_S
from otel_realtime.conversation.sockets import UNDECIDED_FRAMES
from otel_realtime.recording.writer import POLL_S
from otel_realtime.state import journal, owner, progress, spool
from tests.support.imports import PACKAGE, ROOT, imports, modules, part_of
from tests.support.mermaid import Diagram, diagrams

PAGE = (ROOT / ".github" / "ARCHITECTURE.md").read_text()
SOURCE = ROOT / PACKAGE
FLOW, LIFE = diagrams(PAGE)


def section(title: str) -> str:
    """The text below a heading of the page, up to the next one."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def tree() -> list[str]:
    """The paths in the drawing of the tree."""
    found: list[str] = []
    folders: list[str] = []
    for line in section("The tree").split("```text\n")[1].split("```")[0].splitlines():
        name = re.search(r"[\w.]+/?", line)
        assert name is not None
        depth = 0 if name.start() == 0 else name.start() // 3
        folders = [*folders[:depth], name[0]]
        found.append("".join(folders))
    return found


def layers() -> list[set[str]]:
    """The lines of who may import whom, the highest first."""
    block = PAGE.split("<!-- layers -->\n```text\n")[1].split("```")[0]
    return [{name.strip() for name in line.split(",")} for line in block.splitlines()]


# --- the tree -----------------------------------------------------------------------------------


def test_everything_in_the_tree_exists() -> None:
    """Every folder and module that is drawn is there, and is of that kind."""
    for path in tree():
        assert (ROOT / path).exists(), path
        assert path.endswith("/") == (ROOT / path).is_dir(), path


def test_the_tree_leaves_no_folder_and_no_module_of_the_top_out() -> None:
    """A folder that is new has its line."""
    folders = [SOURCE, SOURCE / "core"]
    expected = {f"{PACKAGE}/{path.name}" for path in SOURCE.glob("*.py")}
    for folder in folders:
        for path in folder.iterdir():
            if path.is_dir() and (path / "__init__.py").exists():
                expected.add(f"{path.relative_to(ROOT)}/")
    drawn = {path for path in tree() if path.startswith(f"{PACKAGE}/") and path != f"{PACKAGE}/"}
    assert expected == drawn


def test_every_path_in_the_text_exists() -> None:
    """What stands in back quotes and looks like a file of the repository is one."""
    for path in re.findall(r"`((?:otel_realtime|tests|collector)/[\w./]+)`", PAGE):
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\((\.\./[^)]+)\)", PAGE):
        assert (ROOT / ".github" / link).exists(), link


# --- who may import whom ------------------------------------------------------------------------


def test_the_layers_name_every_part_once() -> None:
    """No folder and no module of the top is without its place."""
    listed = [name for layer in layers() for name in layer]
    assert len(listed) == len(set(listed))
    assert {part_of(module) for module in modules()} - {"core"} == set(listed)


def test_imports_only_go_down() -> None:
    """Every import of the package, wherever it stands, leads to a lower line."""
    place = {name: number for number, layer in enumerate(layers()) for name in layer}
    climbing = {
        f"{who} -> {whom}"
        for who, whom in imports()
        if part_of(who) != part_of(whom) and place[part_of(who)] >= place[part_of(whom)]
    }
    assert set() == climbing


def test_only_those_that_are_named_know_langsmith() -> None:
    """The page says who names the backend; the command, the door and the demo are above it."""
    (named,) = re.findall(r"Only (.+?) name `langsmith`", PAGE)
    above = {"cli", "demo", "talk", "sandbox", PACKAGE}
    known = {
        part_of(who)
        for who, whom in imports()
        if part_of(whom) == "langsmith" and part_of(who) != "langsmith"
    }
    assert set(re.findall(r"`(\w+)`", named)) == known - above


def test_the_layers_are_those_that_are_enforced() -> None:
    """Where another test holds its own list of layers, both agree on what they share."""
    path = ROOT / "tests" / "test_architecture.py"
    if not path.exists():
        pytest.skip("no other list of layers")
    theirs = _layers_of(importlib.import_module("tests.test_architecture"))
    if theirs is None:
        pytest.skip("its layers are kept in another form")
    ours = {name: number for number, layer in enumerate(layers()) for name in layer}
    shared = [[name for name in layer if name in ours] for layer in theirs]
    for number, layer in enumerate(shared):
        for higher in layer:
            for lower in (name for below in shared[number + 1 :] for name in below):
                assert ours[higher] <= ours[lower], f"{higher} stands above {lower} there"


def _layers_of(module: ModuleType) -> list[list[str]] | None:
    for name, value in vars(module).items():
        if "LAYER" in name.upper() and isinstance(value, list | tuple):
            found = [[row] if isinstance(row, str) else list(row) for row in value]
            if all(isinstance(name, str) for row in found for name in row):
                return [[_short(name) for name in row] for row in found]
    return None


def _short(name: str) -> str:
    name = name.removeprefix(f"{PACKAGE}.").replace("/", ".")
    return PACKAGE if name in {"", "door", "__init__"} else name


# --- the diagrams -------------------------------------------------------------------------------

LABEL = re.compile(r"([a-z_]+(?:/[a-z_]+)*\.py)<br/>([\w., ]+)$")


def test_every_node_of_the_flow_is_a_thing_of_the_code() -> None:
    """A node is a file and names in it; the round ones are outside of the package."""
    for name, label in FLOW.labels.items():
        found = LABEL.match(label)
        if found is None:
            assert ".py" not in label, label
            continue
        module = importlib.import_module(f"{PACKAGE}/{found[1]}"[:-3].replace("/", "."))
        for dotted in found[2].split(", "):
            _resolve(module, dotted, name)


def _resolve(module: ModuleType, dotted: str, node: str) -> None:
    thing: Any = module
    for part in dotted.split("."):
        assert hasattr(thing, part), f"{node}: {module.__name__} has no {dotted}"
        thing = getattr(thing, part)


def test_threads_in_the_flow_are_in_the_table() -> None:
    """A box named after threads names threads that there are."""
    boxes = re.findall(r'subgraph \w+\["threads? ([^"]+)"\]', PAGE)
    named = {name.strip(",") for box in boxes for name in box.split() if "-" in name}
    full = {name if name.startswith("otel") else f"otel-realtime{name}" for name in named}
    assert full
    assert full <= set(threads_of_the_page())


def test_the_states_are_those_that_the_code_speaks_of() -> None:
    """The two machines' own docstrings name the same states and the same limit."""
    spoken = f"{engine.__doc__} {sockets.__doc__}"
    of_the_code = {"undecided", "released", "open", "waiting", "closed", "delivered"}
    for state in of_the_code:
        assert state in spoken
    assert of_the_code | {"unsampled", "orphaned", "handed_over"} == LIFE.names
    assert f"{UNDECIDED_FRAMES} frames" in next(
        label for start, end, label in LIFE.edges if (start, end) == ("undecided", "released")
    )


@pytest.mark.parametrize("diagram", [FLOW, LIFE], ids=["flow", "life"])
def test_every_node_leads_somewhere_or_comes_from_somewhere(diagram: Diagram) -> None:
    """Nothing stands alone."""
    assert diagram.edges
    assert set(diagram.labels) <= diagram.names


@pytest.mark.parametrize(
    "text",
    [
        "flowchart TB\n a --> b",
        'flowchart TB\n a["x] --> b["y"]',
        'flowchart TB\n subgraph s["t"]\n a["x"] --> a',
        "stateDiagram-v2\n a -> b",
        "pie\n a",
    ],
)
def test_a_broken_diagram_is_noticed(text: str) -> None:
    """A node without a label, a quote or an end that is missing, a wrong arrow, another kind."""
    with pytest.raises(ValueError):
        list(diagrams(f"```mermaid\n{text}\n```\n"))


# --- numbers, files, threads --------------------------------------------------------------------


def test_numbers_are_those_of_the_code() -> None:
    """How often the writer looks, and how long a close may take."""
    assert f"every {POLL_S * 1000:g} ms" in PAGE
    assert f"within {CLOSE_BUDGET_S * 1000:g} ms" in PAGE


def test_every_file_on_disk_is_named() -> None:
    """The table names the folders and files that the code writes."""
    rows = " ".join(re.findall(r"^\| (.+?) \|", section("On disk"), re.MULTILINE))
    folders = (owner.OWNERS, owner.CONVERSATIONS, owner.SPOOL)
    files = (journal.JOURNAL, progress.PROGRESS, *journal.SOURCES.values(), spool.SUFFIX)
    for name in (*folders, *files):
        assert name in rows, name


def threads_of_the_page() -> dict[str, str]:
    """Name of each thread in the table -> the module it is of."""
    return dict(re.findall(r"^\| `(otel-realtime-\w+)` \| `([\w/.]+)` \|", PAGE, re.MULTILINE))


def test_the_table_of_threads_is_whole() -> None:
    """Every background thread of the package, in the module that makes it."""
    skipped = {"sandbox", "demo", "talk"}  # programs of their own
    found = {
        name: str(path.relative_to(SOURCE))
        for module, path in modules().items()
        if part_of(module) not in skipped
        for name in _thread_names(path)
    }
    assert found == threads_of_the_page()


def _thread_names(path: Path) -> Iterable[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and re.fullmatch(r"otel-realtime-[a-z]+", text):
            yield text
