"""``on_message``: called as LangSmith calls it, whatever the session tells in whatever order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from langsmith.integrations.openai_realtime._session import _AgentsRealtimeTracer

from otel_realtime.langsmith_compat.lines import Lines

TEXTS = st.sampled_from([None, "", " ", "Hi", "Hi there", " Hi "])
ROLES = st.sampled_from(["user", "assistant", "system", None])
IDS = st.sampled_from(["a", "b", "c", None])


def _part(text: str | None) -> Any:
    return SimpleNamespace(transcript=text)


ITEMS = st.builds(
    lambda item_id, role, texts: SimpleNamespace(
        item_id=item_id, role=role, content=[_part(text) for text in texts]
    ),
    IDS,
    ROLES,
    st.lists(TEXTS, max_size=2),
)
EVENTS = st.one_of(
    st.builds(lambda item: SimpleNamespace(type="history_added", item=item), ITEMS),
    st.builds(
        lambda items: SimpleNamespace(type="history_updated", history=items),
        st.lists(ITEMS, max_size=3),
    ),
    st.builds(
        lambda item_id, text, kind: SimpleNamespace(
            type="raw_model_event",
            data=SimpleNamespace(type=kind, item_id=item_id, transcript=text),
        ),
        IDS,
        TEXTS,
        st.sampled_from(["input_audio_transcription_completed", "other"]),
    ),
    st.just(SimpleNamespace(type="history_added", item=None)),
)


class _Untraced:
    """What LangSmith's tracer writes to; keeps nothing."""

    def now(self) -> float:
        return 0.0

    def event_span(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(__enter__=lambda: None, __exit__=lambda *_: None)

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: _Block()


class _Block:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


_Untraced.event_span = lambda self, *_, **__: _Block()  # type: ignore[method-assign]


@given(st.lists(EVENTS, max_size=8))
def test_the_lines_are_langsmiths(events: list[Any]) -> None:
    """The same roles and texts, in the same order."""
    expected: list[tuple[str, str]] = []
    found: list[tuple[str, str]] = []
    tracer = _AgentsRealtimeTracer(
        _Untraced(),  # type: ignore[arg-type]
        on_message=lambda role, text: expected.append((role, text)),
    )
    lines = Lines(lambda role, text: found.append((role, text)))
    for event in events:
        tracer.observe(event)
        lines.seen(event)
    tracer.flush_pending()
    lines.end()
    assert expected == found
