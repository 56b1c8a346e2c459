"""The neighbours: what is installed, how it is set up, and which client the call is made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.matrix.members import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Something else that watches, or runs, the same process.

    Attributes:
        name: its name, and that of its environment.
        requires: what is installed besides this package and ``openai``.
        client: who makes the call: ``openai``, ``sync``, ``agents`` or ``aiohttp``.
        set_up: source that switches it on; it knows ``provider``, and lists that it may extend:
            ``others`` by its spans, as mappings, if it does not use the provider; ``tools`` by what
            decorates the app's tool; ``finish`` by what is called at the end.
        environment: variables.
        python: version of the interpreter.
        orders: in which orders the two are set up.
    """

    name: str
    requires: tuple[str, ...] = ()
    client: str = "openai"
    set_up: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str = "3.12"
    orders: tuple[str, ...] = ("theirs-first", "ours-first")

    @property
    def place(self) -> Environment:
        """Where it is installed."""
        name, requires = f"beside-{self.name}", ("openai>=1.103", *self.requires)
        return Environment(name, self.python, requires, clients=())


_HTTP = ("requests", "urllib3", "aiohttp-client", "threading", "asyncio")
_HTTP_REQUIRES = tuple(f"opentelemetry-instrumentation-{name}" for name in _HTTP)
_HTTP_SET_UP = """
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.asyncio import AsyncioInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
for one in (AioHttpClientInstrumentor, AsyncioInstrumentor, RequestsInstrumentor,
            ThreadingInstrumentor, URLLib3Instrumentor):
    one().instrument(tracer_provider=provider)
"""
_DATADOG = {
    "DD_TRACE_AGENT_URL": "http://127.0.0.1:9",  # nobody is there
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_TRACE_STARTUP_LOGS": "false",
    # Off by default; what they see below ``requests`` is what we deliver by.
    "DD_TRACE_URLLIB3_ENABLED": "true",
    "DD_TRACE_HTTPLIB_ENABLED": "true",
}
_DATADOG_SET_UP = """
import ddtrace.auto
from ddtrace.trace import TraceFilter, tracer

class Keep(TraceFilter):
    def process_trace(self, trace):
        others.extend({"scope": "ddtrace", "name": span.name, "tags": {
            **{str(k): str(v) for k, v in span.get_tags().items()}, "resource": str(span.resource),
        }} for span in trace)
        return None

tracer.configure(trace_processors=[Keep()])
"""

NEIGHBOURS: tuple[Neighbour, ...] = (
    Neighbour(
        name="otel-http",
        requires=(*_HTTP_REQUIRES, "aiohttp"),
        client="aiohttp",
        set_up=_HTTP_SET_UP,
    ),
    Neighbour(
        name="otel-openai-v2",
        # 2.4b0 imports httpx, and a module that no released util-genai has, and requires neither;
        # 2.3b0 does not work with wrapt 2, and does not say so.
        requires=(
            "opentelemetry-instrumentation-openai-v2<2.4b0",
            "wrapt<2",
            *_HTTP_REQUIRES,
            "aiohttp",
        ),
        set_up="""
from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
OpenAIInstrumentor().instrument(tracer_provider=provider)
"""
        + _HTTP_SET_UP,
    ),
    Neighbour(
        name="otel-openai-agents-v2",
        requires=("opentelemetry-instrumentation-openai-agents-v2", "openai-agents"),
        client="agents",
        set_up="""
from opentelemetry.instrumentation.openai_agents import OpenAIAgentsInstrumentor
OpenAIAgentsInstrumentor().instrument(tracer_provider=provider)
""",
    ),
    Neighbour(
        name="openinference-openai",
        requires=("openinference-instrumentation-openai",),
        set_up="""
from openinference.instrumentation.openai import OpenAIInstrumentor
OpenAIInstrumentor().instrument(tracer_provider=provider)
""",
        python="3.13",
    ),
    Neighbour(
        name="openinference-openai-agents",
        requires=("openinference-instrumentation-openai-agents", "openai-agents"),
        client="agents",
        set_up="""
from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor
OpenAIAgentsInstrumentor().instrument(tracer_provider=provider)
""",
        python="3.13",
    ),
    Neighbour(
        name="traceloop-openai",
        requires=("opentelemetry-instrumentation-openai",),
        set_up="""
from opentelemetry.instrumentation.openai import OpenAIInstrumentor
OpenAIInstrumentor().instrument(tracer_provider=provider)
""",
        python="3.10",
    ),
    Neighbour(
        name="traceloop-openai-agents",
        requires=("opentelemetry-instrumentation-openai-agents", "openai-agents"),
        client="agents",
        set_up="""
from opentelemetry.instrumentation.openai_agents import OpenAIAgentsInstrumentor
OpenAIAgentsInstrumentor().instrument(tracer_provider=provider)
""",
        python="3.10",
    ),
    Neighbour(name="ddtrace", requires=("ddtrace",), set_up=_DATADOG_SET_UP, environment=_DATADOG),
    Neighbour(
        name="langsmith-otel",
        requires=("langsmith[otel]",),
        set_up="""
from langsmith import traceable
from langsmith.run_trees import get_cached_client
get_cached_client()
tools.append(traceable(name="look up"))
finish.append(lambda: get_cached_client().flush())
""",
        environment={"LANGSMITH_OTEL_ENABLED": "true"},
        python="3.13",
    ),
    Neighbour(name="uvloop", requires=("uvloop",), set_up="import uvloop; uvloop.install()"),
    Neighbour(
        name="gevent",
        requires=("gevent",),
        client="sync",
        set_up="from gevent import monkey; monkey.patch_all()",
        # gevent wants to be first: locks that are held when it patches them are never released.
        orders=("theirs-first",),
    ),
)
