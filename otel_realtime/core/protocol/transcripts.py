"""The user's speech as text, from the transcription of the input audio.

A separate model transcribes, so its events may arrive at any time, before or after the answer, and are
correlated only by ``item_id``. The text of a part is the text of ``.completed``. Before that, it is the
concatenation of its deltas, or the text so far that a service sends repeatedly (xAI: ``.updated``, and
``.completed`` with ``status: in_progress``).

Source: ``conversation.item.input_audio_transcription.*`` at
https://platform.openai.com/docs/api-reference/realtime-server-events/conversation/item/input_audio_transcription.
"""

from __future__ import annotations

from otel_realtime.core.protocol.changes import Change, Transcribed
from otel_realtime.core.protocol.events import Event
from otel_realtime.core.protocol.items import Item, Items
from otel_realtime.core.protocol.json_values import content_index, text_or_none
from otel_realtime.core.protocol.parts import read_languages, read_segment
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.core.protocol.session import SessionFacts


class Transcripts:
    """The transcriptions of one conversation.

    Args:
        items: The conversation's items.
        session: The conversation's session, which names the transcription model.
    """

    def __init__(self, items: Items, session: SessionFacts) -> None:
        self._items = items
        self._session = session
        self._commit_moments: dict[str, Moment] = {}

    def committed(self, item: Item, moment: Moment) -> None:
        """Note that the audio of an item is complete, so that its transcription begins."""
        self._commit_moments[item.id] = moment

    def updated(self, event: Event, moment: Moment) -> None:
        """Apply ``.updated``: the whole text so far."""
        item_id, text = text_or_none(event.get("item_id")), event.get("transcript")
        if item_id is not None and isinstance(text, str):
            item = self._items.get_or_create(item_id, moment.t, role="user")
            item.set_partial(content_index(event.get("content_index")), text)

    def segment(self, event: Event, moment: Moment) -> None:
        """Apply ``.segment``: one speaker's segment."""
        item_id, segment = text_or_none(event.get("item_id")), read_segment(event)
        if item_id is not None and segment is not None:
            self._items.get_or_create(item_id, moment.t, role="user").segments.append(segment)

    def ended(self, event: Event, moment: Moment) -> list[Change]:
        """Apply ``.completed`` or ``.failed``: one call of the transcription model."""
        item_id = text_or_none(event.get("item_id"))
        if item_id is None:
            return []
        if event.get("status") == "in_progress":
            self.updated(event, moment)
            return []
        item = self._items.get_or_create(item_id, moment.t, role="user")
        index, text = content_index(event.get("content_index")), event.get("transcript")
        if isinstance(text, str):
            item.set_part(index, text)
        item.languages = read_languages(event) or item.languages
        if index in item.transcribed:
            return []  # xAI sends several per part; the model call has already been reported
        item.transcribed.add(index)
        start = self._commit_moments.get(item.id, moment)
        return [self._transcribed(item, start, event, failed=event["type"].endswith(".failed"))]

    def disconnected(self, moment: Moment) -> list[Change]:
        """Apply the close of the connection: unfinished transcriptions will not be completed."""
        changes = self.unfinished(moment)
        for change in changes:
            change.item.transcribed.update(change.item.partial)
        return list(changes)

    def unfinished(self, end: Moment) -> list[Transcribed]:
        """Return the unfinished transcriptions for which some text has arrived.

        Args:
            end: The end of the conversation or of its connection.
        """
        start_ns = end.at_ns - end.t
        found = [
            item
            for item in self._items
            # A text in fragments has neither an end nor a model call of its own.
            if item.role == "user" and item.partial and not item.transcribed and item.place is None
        ]
        seen = {item.id: Moment(item.at_t, start_ns + item.at_t) for item in found}
        starts = {**seen, **self._commit_moments}
        return [self._transcribed(item, starts[item.id], {}, ended=False) for item in found]

    def _transcribed(
        self, item: Item, start: Moment, event: Event, *, failed: bool = False, ended: bool = True
    ) -> Transcribed:
        model = self._session.transcription_model or "unknown"
        return Transcribed(item, model, start.t, start.at_ns, event, failed, ended)
