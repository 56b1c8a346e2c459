"""Our requests are called below the wrappers of tracers, and of nobody else."""

from __future__ import annotations

import functools
from typing import Any
from unittest.mock import Mock

import pytest
import requests
import wrapt
from urllib3.connectionpool import HTTPConnectionPool

from otel_realtime.delivery.transport import new_session
from otel_realtime.delivery.untraced import untraced
from tests.support.hostile_http import accept, hostile


class Sender:
    """A class of a library."""

    name = ""

    def send(self, text: str) -> str:
        """What it does without anybody around it."""
        return text


def from_package(package: str, name: str) -> Any:
    """A function that a module of another package defines, which calls what it wraps."""
    module: dict[str, Any] = {"__name__": f"{package}.inner"}
    exec(
        "def around(wrapped, instance, args, kwargs):\n"
        f"    return instance.name + '{name}:' + wrapped(*args, **kwargs)\n",
        module,
    )
    return module["around"]


def wrap(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Wrap the method by each package, the last outermost."""
    for package in packages:
        around = from_package(package, package)
        wrapper = wrapt.FunctionWrapper(vars(Sender)["send"], around)
        monkeypatch.setattr(Sender, "send", wrapper)


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        ((), "hi"),
        (("ddtrace",), "hi"),
        (("ddtrace", "opentelemetry"), "hi"),
        (("opentelemetry", "ddtrace", "opentelemetry"), "hi"),
        (("corporate_proxy",), "corporate_proxy:hi"),
        (("corporate_proxy", "ddtrace"), "corporate_proxy:hi"),
        (("ddtrace", "corporate_proxy"), "corporate_proxy:ddtrace:hi"),
    ],
)
def test_only_tracers_are_left_out(
    monkeypatch: pytest.MonkeyPatch, packages: tuple[str, ...], expected: str
) -> None:
    """As far down as there is nothing else in between."""
    wrap(monkeypatch, *packages)
    assert expected == untraced(Sender, "send", Sender())("hi")


def test_a_decorated_method_is_a_layer_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry wraps by ``functools.wraps``, which hides whose function it is."""
    original = Sender.send
    module: dict[str, Any] = {
        "__name__": "opentelemetry.instrumentation.requests",
        "call": original,
    }
    exec("def around(self, text):\n    return 'traced:' + call(self, text)\n", module)
    monkeypatch.setattr(Sender, "send", functools.wraps(original)(module["around"]))
    assert "hi" == untraced(Sender, "send", Sender())("hi")
    monkeypatch.setattr(Sender, "send", functools.wraps(original)(lambda self, text: "mine"))
    assert "mine" == untraced(Sender, "send", Sender())("hi")


def test_a_method_of_a_base_class_is_found() -> None:
    """A library may move it there."""

    class Heir(Sender):
        pass

    assert "hi" == untraced(Heir, "send", Heir())("hi")


def test_a_stand_in_is_called_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app's tests may replace the method by what does not bind."""
    stand_in = Mock(return_value="nothing sent")
    monkeypatch.setattr(requests.Session, "send", stand_in)
    assert "nothing sent" == new_session().post("http://127.0.0.1:9/")
    assert 1 == stand_in.call_count


def test_our_requests_pass_no_tracer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of ``requests`` nor of ``urllib3``; the app's own requests still do."""
    seen: list[str] = []
    for owner, name in ((requests.Session, "send"), (HTTPConnectionPool, "urlopen")):
        module: dict[str, Any] = {"__name__": "ddtrace.contrib", "seen": seen}
        exec(
            "def around(wrapped, instance, args, kwargs):\n"
            f"    seen.append({name!r})\n"
            "    return wrapped(*args, **kwargs)\n",
            module,
        )
        monkeypatch.setattr(owner, name, wrapt.FunctionWrapper(vars(owner)[name], module["around"]))
    with hostile(lambda exchange: accept) as server:
        with new_session() as session:
            session.post(server.url, data=b"1")
            pool = session.get_adapter(server.url).poolmanager.connection_from_url(server.url)
            assert pool._new_conn()._dd_no_trace
        assert [] == seen
        requests.post(server.url, data=b"1")
    assert ["send", "urlopen"] == seen
