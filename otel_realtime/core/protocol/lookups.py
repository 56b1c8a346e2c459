"""What a dialect's table says of a frame, in the form in which it is asked for each of them.

Made once for each dialect, not for each conversation.
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
    """How frames of a dialect are told apart.

    Attributes:
        agent_audio: How received frames with agent audio begin.
        reflected_audio: How received frames with user audio begin; None if there are none.
        audio_types: Types of both.
        deltas: How received frames begin that carry a piece of a text that is kept.
        delta_types: Types of these.
        audio_events: Type of an event that says something about audio -> its name for the recording.
    """

    agent_audio: Prefixes
    reflected_audio: Prefixes | None
    audio_types: frozenset[str]
    deltas: Prefixes
    delta_types: frozenset[str]
    audio_events: Mapping[str, str]

    def audio_event(self, event: Event) -> Event | None:
        """Return an event as the recording knows it; None if it says nothing about audio."""
        kind = event["type"]
        named = self.audio_events.get(kind)
        if named is None:
            return None
        return event if named == kind else {**event, "type": named}


@lru_cache(maxsize=16)
def lookups(dialect: Dialect) -> Lookups:
    """Return how frames of a dialect are told apart."""
    reflected, kept = dialect.reflected_audio, (*dialect.text_deltas, *dialect.streams)
    # The recording knows both names of an event of the beta.
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
