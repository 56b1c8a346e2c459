"""``python -m tests.benchmarks.upstream``: what changes of OpenTelemetry's SDK would bring.

Half of what an event costs is the SDK's. The SDK of this process alone is patched, change by change, and
a bare span and the events of a conversation are measured with none, the first, the first two, and so on.
Nothing of it is shipped: the package takes the SDK as it is. The patches keep what the SDK promises of
attributes (types, limits, the oldest dropped first); they only come to it with less work.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from opentelemetry import trace as trace_api
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import get_current
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace.propagation import _SPAN_KEY

from tests.benchmarks import harness
from tests.benchmarks.conversation import whole
from tests.benchmarks.numbers import US, Figure, bare_span, figure, least_ns, table

_PLAIN = frozenset({str, bool, int, float})
_set_items: Any = BoundedAttributes._set_items


def _set_plain(self: Any, attributes: Mapping[str, Any]) -> None:
    """Set plain values that fit at once; whatever is not plain, as the SDK does."""
    plain = self.max_value_len is None and _PLAIN.issuperset(map(type, attributes.values()))
    fits = self.maxlen is None or len(self._dict) + len(attributes) <= self.maxlen
    if not (plain and fits) or self._immutable or self._dict.keys() & attributes.keys():
        _set_items(self, attributes)
        return
    with self._lock:
        self._dict.update(attributes)


def _current_span(context: Any = None) -> Any:
    """Return the current span without asking its abstract base class, three times for each span."""
    return (get_current() if context is None else context).get(_SPAN_KEY) or trace_api.INVALID_SPAN


#: What is changed, and by what: an object, a name, and what is there instead.
CHANGES: dict[str, tuple[tuple[Any, str, Any], ...]] = {
    "plain attributes set at once": ((BoundedAttributes, "_set_items", _set_plain),),
    "the current span without isinstance": (
        (trace_api, "get_current_span", _current_span),
        (sampling, "get_current_span", _current_span),
    ),
}


@contextmanager
def patched(names: list[str]) -> Iterator[None]:
    """Patch the SDK by some of the changes."""
    with ExitStack() as stack:
        for name in names:
            for where, attribute, instead in CHANGES[name]:
                stack.enter_context(mock.patch.object(where, attribute, instead))
        yield


def measure(rounds: int) -> list[Figure]:
    """Return what a bare span and an event cost, with more and more of the changes."""
    frames = whole(deltas=0, tools=True)
    states = [list(CHANGES)[:number] for number in range(len(CHANGES) + 1)]
    spans: list[list[float]] = [[] for _ in states]
    events: list[list[float]] = [[] for _ in states]
    for _ in range(rounds):
        base = asyncio.run(harness.bare(frames)).others
        for number, names in enumerate(states):
            with patched(names), harness.ours(record=True):
                spans[number] += [ns * US for ns in least_ns(bare_span(), 300, 3)]
                cost = asyncio.run(harness.through_ours(frames)).others
            events[number].append((cost - base) / len(frames) * 1e6)
    figures = []
    for number, names in enumerate(states):
        who = f"and {names[-1]}" if number > 1 else names[-1] if names else "the SDK as it is"
        figures.append(
            figure("upstream", "a bare span with 12 attributes", who, "us", spans[number])
        )
        figures.append(figure("upstream", "an event", who, "us", events[number]))
    return sorted(figures, key=lambda each: each.what)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    print(table(measure(7)))
