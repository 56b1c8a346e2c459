"""Lookup tables of a dialect, in the form that the check of each frame needs.

They are built once per dialect, not once per conversation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from otel_realtime.core.audio.evidence import AUDIO_EVENTS
from otel_realtime.core.protocol.dialects import Dialect, Prefixes, prefixes
from otel_realtime.core.protocol.events import Event


@dataclass(frozen=True, slots=True)
class Lookups:
    """How to recognise the frames of a dialect.

    Attributes:
        agent_audio: Prefixes of received frames with agent audio.
        reflected_audio: Prefixes of received frames with user audio; None if there are none.
        audio_types: Event types of both.
        deltas: Prefixes of received frames with a piece of a text that is kept.
        delta_types: Event types of these.
        audio_events: Type of an event that concerns audio -> its name in the recording.
    """

    agent_audio: Prefixes
    reflected_audio: Prefixes | None
    audio_types: frozenset[str]
    deltas: Prefixes
    delta_types: frozenset[str]
    audio_events: Mapping[str, str]

    def audio_event(self, event: Event) -> Event | None:
        """Return an event with the type that the recording knows; None if it does not concern audio."""
        kind = event["type"]
        named = self.audio_events.get(kind)
        if named is None:
            return None
        return event if named == kind else {**event, "type": named}


@lru_cache(maxsize=16)
def lookups(dialect: Dialect) -> Lookups:
    """Return the lookup tables of a dialect."""
    reflected, kept = dialect.reflected_audio, (*dialect.text_deltas, *dialect.streams)
    # The recording knows both the GA and the beta name of an event.
    named = {**dialect.names, **{kind: kind for kind in AUDIO_EVENTS}}
    return Lookups(
        agent_audio=prefixes(dialect.agent_audio),
        reflected_audio=prefixes(reflected) if reflected else None,
        audio_types=frozenset({*dialect.agent_audio, *reflected}),
        deltas=prefixes(kept),
        delta_types=frozenset(kept),
        audio_events={
            kind: name
            for kind, name in named.items()
            if name in AUDIO_EVENTS
            and (dialect.tells_formats or kind not in dialect.session_events)
        },
    )
