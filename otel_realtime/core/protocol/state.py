"""The state machine of one conversation: events in, changes out.

The state machine observes a conversation between a client and a server and controls neither, so no
transition is illegal: events may arrive in any order, twice, or not at all. It never raises, and it
ignores what it cannot interpret. It holds no span, no audio and no clock: the caller passes the time
of each event (``responses.Moment``).

Facts that must be traced at once are returned as ``changes``. Facts that become known only later (such
as whether the answer was heard to its end) are kept on an unsettled response until ``take_settled``
returns it. The table uses the GA names of the events
(https://platform.openai.com/docs/api-reference/realtime-server-events)::

    event from the server                   effect on the state                        changes returned
    --------------------------------------  -----------------------------------------  -----------------
    session.created, .updated               merge the session's configuration
    error                                   count it; withdraw what it refuses
    session.usage.updated, .closed          set the billed usage; set why it closed
    session.delegation.created              count it
    input_audio_buffer.speech_*             create the user item; set VAD start or end
    input_audio_buffer.committed            place the user item; mark it unread
    input_audio_buffer.timeout_triggered    mark the user item as silence, not a turn
    input_audio_buffer.dtmf_event_received  count it
    conversation.item.added                 place the item; mark a client's item       [1], [2]
                                            unread, give a model's item to the active
                                            response
    conversation.item.done, .retrieved      merge the item; add it if unknown          [1], [2]
    conversation.item.deleted               later responses no longer read the item
    *_transcription.completed, .failed      set the part's text; it is transcribed     Transcribed, once
    *_transcription.segment, .updated       add a speaker's segment; set text so far
    text, transcript, arguments ``.delta``  set the text so far, until its ``.done``
    response.created                        open the response and match its request;
                                            it reads the unread items
    response.output_item.added, .done       add the output item to the response        [1], [2]
    response.output_*_transcript.done       set the part's text (or ``output_text``)
    response.function_call_arguments.done   the call is complete                       [1]
    response.mcp_call_arguments.done        merge the call's arguments
    response.mcp_call.*, mcp_list_tools.*   note the tools that the server runs        [2]
    response.done                           set status, usage and output items         [1], [2]
    client: response.create                 remember it for ``response.created``
    client: input_audio_buffer.commit       note when the client committed
    client: session.update                  note the model, if the server never does
    client: conversation.item.create        an output answers a call, an approval      [1], [2]
                                            answers its request
    (the connection closes)                 end everything that is in progress         all of these

    [1] changes of function calls, see ``tool_calls``
    [2] changes of MCP calls, approvals and lists, see ``mcp``
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from otel_realtime.core.protocol.changes import Change
from otel_realtime.core.protocol.commits import SentCommits
from otel_realtime.core.protocol.dialects import REALTIME, Dialect, Reader
from otel_realtime.core.protocol.events import Event, JsonMapping
from otel_realtime.core.protocol.interruptions import SHORTEST_SPEECH_MS, Speeches, is_known
from otel_realtime.core.protocol.items import Item, Items, Place
from otel_realtime.core.protocol.json_values import (
    content_index,
    milliseconds,
    object_or_empty,
    text_or_none,
)
from otel_realtime.core.protocol.mcp import McpFacts
from otel_realtime.core.protocol.partials import Partial
from otel_realtime.core.protocol.reading import Reading, Seed
from otel_realtime.core.protocol.replays import Replay
from otel_realtime.core.protocol.requests import Requests
from otel_realtime.core.protocol.responses import AudioFacts, Moment, Response
from otel_realtime.core.protocol.session import Counts, SessionFacts
from otel_realtime.core.protocol.tool_calls import ToolCalls
from otel_realtime.core.protocol.transcripts import Transcripts


class ConversationState:
    """One conversation as its events describe it.

    Attributes:
        session: The session's configuration.
        items: The items in conversation order.
        responses: All responses by id, in order of creation.
        unsettled: Responses that ``take_settled`` has not returned yet, by id.
        calls: Function calls by ``call_id``.
        mcp: MCP tool calls, approvals and tool lists that the server handles itself.
        transcripts: The transcriptions of the user's speech.
        counts: Counters that the root span reports.
        speeches: When the user began to speak.
        shortest_speech_ms: Speech shorter than this, in ms, says nothing (see ``interruptions``).
        dialect: The dialect in which the conversation's events are read.
    """

    def __init__(self) -> None:
        self.session = SessionFacts()
        self.items = Items()
        self.responses: dict[str, Response] = {}
        self.unsettled: dict[str, Response] = {}
        self._waiting: deque[str] = deque()  # ids of ``unsettled``, in the order of checking
        self.counts = Counts()
        self.speeches = Speeches()
        self.shortest_speech_ms = SHORTEST_SPEECH_MS
        self._tools = ToolCalls(self.counts)
        self.calls = self._tools.by_id
        self.mcp = McpFacts(self.counts)
        self.transcripts = Transcripts(self.items, self.session)
        self._reading = Reading()
        self._requests = Requests()
        self._replay = Replay()
        self._sent_items = 0
        self._commits = SentCommits()
        self.dialect = REALTIME
        self._reader: Reader | None = None

    def speak(self, dialect: Dialect) -> None:
        """Set the dialect; must be called before the first event in that dialect."""
        self.dialect = dialect
        self._reader = None if dialect.reader is None else dialect.reader()

    # --- client to server -----------------------------------------------------------------------

    def send(self, event: Event, moment: Moment) -> list[Change]:
        """Apply an event that the client sent; most client events do not affect the state."""
        if self._reader is None:
            return self._send(event, moment)
        return [change for each in self._reader.sent(event) for change in self._send(each, moment)]

    def _send(self, event: Event, moment: Moment) -> list[Change]:
        event_type = self.dialect.name_of(event["type"])
        if event_type == "response.create":
            self._requests.sent(event, moment)
        elif event_type == "input_audio_buffer.commit":
            self._commits.sent(text_or_none(event.get("event_id")), moment.t)
        elif event_type == "session.update":
            model = text_or_none(object_or_empty(event.get("session")).get("model"))
            self.session.other_model = model or self.session.other_model
        elif event_type == "conversation.item.create":
            item = object_or_empty(event.get("item"))
            known = None if self.items.get(item.get("id")) else self._replay.recognise(item)
            self._reading.seed(Seed(item, text_or_none(event.get("event_id")), moment, known))
            if item.get("type") == "function_call_output":
                return self._tools.answer(item, moment)
            if item.get("type") == "mcp_approval_response":
                return self.mcp.answer(item, moment)
        return []

    def disconnected(self, moment: Moment) -> list[Change]:
        """Apply the close of the connection: everything in progress on it has ended.

        Another connection may continue the conversation. The server then starts a new session, and the
        items that the client replays to it are recognised (see ``replays``).
        """
        for response in self.unsettled.values():
            if response.ended is None:
                response.lost = moment
        self._requests.disconnected()
        self._reading.disconnected()
        self._commits.reset()
        self._replay.expect(self.items)
        return [
            *self._tools.disconnected(moment),
            *self.mcp.disconnected(moment),
            *self.transcripts.disconnected(moment),
        ]

    # --- server to client -----------------------------------------------------------------------

    def receive(self, event: Event, moment: Moment) -> list[Change]:
        """Apply an event that the server sent; return the changes that must be traced at once."""
        names = self.dialect.names
        changes: list[Change] = []
        for each in (event,) if self._reader is None else self._reader.received(event):
            event_type = each["type"]
            handler = _HANDLERS.get(names.get(event_type, event_type))
            if handler is not None:
                handler(self, each, moment, changes)
        return changes

    def keep(self, partial: Partial, moment: Moment) -> None:
        """Store the text received so far of a content part; see ``partials``.

        Args:
            partial: The text, as it may be stored.
            moment: When its latest delta arrived.
        """
        if partial.place is not None:
            self._place(partial, partial.place, moment)
        item = self.items.get_or_create(partial.item_id, moment.t, role=partial.role)
        item.set_partial(partial.index, partial.text)
        item.audio = item.audio or partial.audio
        response = self.responses.get(partial.response_id or "")
        if response is not None and item.id not in response.outputs:
            # The server did not send ``response.output_item.added``.
            item.response_id = response.id
            response.outputs.append(item.id)
            if not response.out_of_band:
                self._reading.commit(item)

    def _place(self, partial: Partial, place: Place, moment: Moment) -> None:
        """Create or move the item of a text that arrives in fragments."""
        known = self.items.get(partial.item_id)
        item = self.items.get_or_create(partial.item_id, moment.t)
        item.put(place)  # before ``assign_turn``: the place decides whether the item begins a turn
        item.role = item.role or partial.role
        self.items.assign_turn(item)
        if known is None:
            self.items.sort_in(item)
            self._reading.commit(item)

    def _session(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        if self.dialect.name_of(event["type"]).endswith(".created"):
            self._commits.reset()
        self.session.merge(object_or_empty(event.get("session")))

    def _usage(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        self.session.billed(event)

    def _session_closed(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        self.session.merge(object_or_empty(event.get("session")))
        self.session.billed(event)
        self.session.closed_because = text_or_none(event.get("reason"))

    def _delegated(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        self.counts.delegations += 1

    def _error(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        self.counts.server_errors += 1
        error = object_or_empty(event.get("error"))
        event_id, code = text_or_none(error.get("event_id")), text_or_none(error.get("code"))
        self._commits.refused(event_id, code)
        self._reading.refused(event_id)
        refused = self._requests.refused(event_id, code)
        response = None if refused is None else self.responses.get(refused.response_id or "")
        if response is not None:
            response.asked_by({}, None)

    def _timeout(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        self.counts.idle_timeouts += 1
        item_id = text_or_none(event.get("item_id"))
        if item_id is not None:
            item = self.items.get_or_create(item_id, moment.t)
            item.idle = item.audio = True
            item.audio_start_ms = milliseconds(event.get("audio_start_ms"))
            item.audio_end_ms = milliseconds(event.get("audio_end_ms"))

    def _dtmf(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        self.counts.dtmf += 1

    def _user_item(self, event: Event, moment: Moment, previous_id: object = None) -> Item | None:
        item_id = text_or_none(event.get("item_id"))
        if item_id is None:
            return None
        item = self.items.get_or_create(item_id, moment.t, role="user", previous_id=previous_id)
        item.audio = True
        return item

    def _speech_started(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        item = self._user_item(event, moment)
        if item is not None:
            item.audio_start_ms = milliseconds(event.get("audio_start_ms"))
            self.speeches.began(moment.t, item)

    def _speech_stopped(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        item = self._user_item(event, moment)
        if item is not None:
            item.audio_end_ms = milliseconds(event.get("audio_end_ms"))
            item.stopped_t = moment.t

    def _committed(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        previous_id = event.get("previous_item_id")
        item = self._user_item(event, moment, previous_id)
        if item is not None:
            # ``speech_started`` may have created it before its position was known.
            self.items.move(item, previous_id)
            if item.stopped_t is None:  # push to talk: there is no ``speech_stopped``
                item.stopped_t = moment.t
                item.commit_sent_t = self._commits.committed()
            item.committed_t = moment.t
            self._reading.commit(item)
            self.transcripts.committed(item, moment)

    def _item_added(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        source = object_or_empty(event.get("item"))
        item_id = text_or_none(source.get("id"))
        if item_id:
            seed = self._reading.confirm(source)
            seeded = seed is not None
            if seed is not None and seed.known is not None and self._replay.proven:
                self.items.alias(item_id, seed.known)
            previous_id = event.get("previous_item_id")
            item = self.items.get_or_create(item_id, moment.t, previous_id=previous_id)
            self.items.move(item, previous_id)
            item.replayed = seeded and item.committed and not item.deleted
            if not item.replayed:
                item.merge(source)
            self.items.assign_turn(item)
            if not (seeded or item.committed) and item.is_models:
                self._adopt(item)
            self._reading.commit(item)
            changes += self._mcp_item(item, source, moment)
            if item.kind == "function_call_output":
                self._connect(item)
                if not seeded:  # sent by another client of the same call
                    changes += self._tools.answer(source, moment)

    def _adopt(self, item: Item) -> None:
        """Assign an item of the model to the active response, if exactly one is active."""
        active = [
            response
            for response in self.unsettled.values()
            if response.ended is None and not response.out_of_band
        ]
        if item.response_id is None and len(active) == 1:
            item.response_id = active[0].id
            active[0].outputs.append(item.id)

    def _item_deleted(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        item = self.items.get(event.get("item_id"))
        if item is not None:
            self._reading.delete(item)

    def _item_done(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        source = object_or_empty(event.get("item"))
        item = self.items.get(source.get("id"))
        if item is None:
            self._item_added(event, moment, changes)
            return
        if item.replayed:
            return
        item.merge(source)
        if item.kind == "function_call" and item.status == "incomplete":
            changes += self._tools.complete(item, moment, self.items.turns)
        changes += self._mcp_item(item, source, moment)

    def _response_created(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        source = object_or_empty(event.get("response"))
        response_id = text_or_none(source.get("id"))
        if response_id is None or response_id in self.responses:
            return
        previous = next(reversed(self.responses.values()), None)
        response = Response(
            response_id,
            created=moment,
            previous=previous,
            session_id=self.session.id,
            session_model=self.session.model,
        )
        response.merge(source)
        response.delegated = event.get("delegated") is True
        response.delegation_id = text_or_none(event.get("delegation_id"))
        if response.delegated and "model" not in response.config:
            response.config.update(self.session.delegate)
        request = self._requests.match(response_id, source)
        if request is not None:
            response.asked_by(request.source, request.moment)
            self._add_unconfirmed(request.moment, aside=response.delegated)
        if not response.delegated:
            model = text_or_none(source.get("model"))
            self.session.other_model = self.session.other_model or model
        self._reading.begin(response)
        self._replay.end()
        response.turn = self.items.turns
        self.responses[response_id] = self.unsettled[response_id] = response
        self._waiting.append(response_id)
        self.counts.responses += 1

    def _add_unconfirmed(self, asked: Moment, *, aside: bool) -> None:
        """Add the items that the client sent before a request, if the server never confirms items."""
        for source, moment in self._reading.unconfirmed(asked, replayed=self._replay.proven):
            self._sent_items += 1
            item_id = text_or_none(source.get("id")) or f"item_sent_{self._sent_items}"
            item = self.items.get_or_create(item_id, moment.t)
            if item.committed and not item.deleted:  # replayed
                continue
            item.aside = aside
            item.merge(source)
            self.items.assign_turn(item)
            self._reading.commit(item)
            self._connect(item)

    def _connect(self, item: Item) -> None:
        """Connect a function's output to the item of its call."""
        call = self.calls.get(item.call_id or "")
        item.answers = item.answers or (None if call is None else call.item_id)

    def _output_item(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        source = object_or_empty(event.get("item"))
        item_id = text_or_none(source.get("id"))
        if item_id is None:
            return
        response = self.responses.get(str(event.get("response_id")))
        item = self.items.get_or_create(item_id, moment.t)
        item.response_id = text_or_none(event.get("response_id"))
        item.aside = response is not None and response.delegated
        item.merge(source)
        if response is None or not response.out_of_band:
            self.items.assign_turn(item)
            self._reading.commit(item)
        # ``conversation.item.added`` may have come first; the item then looked like the client's.
        self._reading.forget(item_id)
        if response is not None and item_id not in response.outputs:
            response.outputs.append(item_id)
        if event["type"] == "response.output_item.done" and item.kind == "function_call":
            changes += self._tools.complete(item, moment, self.items.turns)
        changes += self._mcp_item(item, source, moment)

    def _part_done(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        item = self.items.get(event.get("item_id"))
        text = event.get("transcript", event.get("text"))
        if item is not None and isinstance(text, str):
            item.set_part(content_index(event.get("content_index")), text)
            item.audio = item.audio or "transcript" in event

    def _arguments_done(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        item_id = text_or_none(event.get("item_id"))
        if item_id is None:
            return
        item = self.items.get_or_create(item_id, moment.t)
        item.kind = "mcp_call" if "mcp" in event["type"] else "function_call"
        item.response_id = item.response_id or text_or_none(event.get("response_id"))
        item.merge({key: event.get(key) for key in ("name", "call_id", "arguments")})
        if item.kind == "function_call":
            changes += self._tools.complete(item, moment, self.items.turns)

    def _response_done(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        source = object_or_empty(event.get("response"))
        response_id = text_or_none(source.get("id"))
        if response_id is None:
            return
        response = self.responses.get(response_id)
        if response is None:  # ``response.created`` came before the connection was observed
            self._response_created(event, moment, changes)
            response = self.responses[response_id]
        if response.done is not None:
            return
        response.merge(source)
        response.usage = source.get("usage") or event.get("usage")  # xAI: also at the top level
        response.done = moment
        response.turn = self.items.turns
        outputs = source.get("output")
        for output in outputs if isinstance(outputs, list) else ():
            changes += self._merge_output(response, object_or_empty(output), moment)
        self._complete(response)
        changes += self._tools.response_done(response, self.items, moment, self.items.turns)

    def _complete(self, response: Response) -> None:
        """Update the output items of a response that has ended."""
        items = response.output_items(self.items)
        for item in items:
            if item.status in (None, "in_progress") and response.status == "completed":
                item.status = "completed"
            item.cut = response.status == "cancelled" and item.status != "completed"
        self._reading.end(items)

    def _merge_output(
        self, response: Response, source: JsonMapping, moment: Moment
    ) -> list[Change]:
        item_id = text_or_none(source.get("id"))
        if item_id is None:
            return []
        item = self.items.get_or_create(item_id, moment.t)
        item.response_id = response.id
        item.aside = response.delegated
        item.merge(source)
        if not response.out_of_band:
            self.items.assign_turn(item)
            self._reading.commit(item)
        self._reading.forget(item_id)  # it may have looked like the client's
        if item_id not in response.outputs:
            response.outputs.append(item_id)
        return self._mcp_item(item, source, moment)

    def _transcript_ended(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        changes.extend(self.transcripts.ended(event, moment))

    def _transcript_updated(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        self.transcripts.updated(event, moment)

    def _transcript_segment(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        self.transcripts.segment(event, moment)

    def _mcp_call(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        item_id = text_or_none(event.get("item_id"))
        if item_id is None:
            return
        item = self.items.get_or_create(item_id, moment.t)
        item.kind = "mcp_call"
        response = self.responses.get(item.response_id or "")
        if response is None:  # the event names no response: assume the latest open one
            unsettled = reversed(self.unsettled.values())
            response = next((latest for latest in unsettled if latest.ended is None), None)
        self.mcp.call_event(item_id, event["type"], moment, response)

    def _mcp_item(self, item: Item, source: JsonMapping, moment: Moment) -> list[Change]:
        if not item.kind.startswith("mcp_"):
            return []
        return self.mcp.item(item, source, moment, self.responses, self.items.turns)

    def _mcp_list(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        item_id = text_or_none(event.get("item_id"))
        if item_id is not None:
            changes += self.mcp.list_event(item_id, event["type"], moment)

    # --- settled responses ----------------------------------------------------------------------

    def take_settled(
        self,
        now_t: int,
        audio: AudioFacts | None,
        *,
        looks: int | None = None,
        most: int | None = None,
    ) -> list[Response]:
        """Remove and return the responses about which nothing more can be learned.

        Args:
            now_t: Current time, in ns since the start of the conversation.
            audio: When items were heard; None if the conversation has no audio facts.
            looks: Maximum number of responses to check; the next call continues with the others. None: all.
            most: Maximum number of responses to return. None: all.
        """
        transcribes = self.session.transcription_model is not None
        settled: list[Response] = []
        for _ in range(len(self._waiting) if looks is None else min(looks, len(self._waiting))):
            response = self.unsettled.get(self._waiting.popleft())
            if response is None:
                continue
            if response.is_settled(self.items, audio, now_t, transcribes) and not (
                self._awaits_reason(response, audio, now_t)
            ):
                del self.unsettled[response.id]
                settled.append(response)
                if len(settled) == most:
                    break
            else:
                self._waiting.append(response.id)
        return settled

    def _awaits_reason(self, response: Response, audio: AudioFacts | None, now_t: int) -> bool:
        """Return whether speech cut the response and the content of that speech is not known yet."""
        if now_t > response.latest_t(audio):
            return False
        cut_t = response.cut_t(audio)
        speech = None if cut_t is None else self.speeches.near(cut_t)
        return speech is not None and not is_known(speech, self.session)

    def take_remaining(self) -> list[Response]:
        """Remove and return all unsettled responses; called when the conversation is over."""
        remaining, self.unsettled = list(self.unsettled.values()), {}
        self._waiting.clear()
        return remaining


_Handler = Callable[[ConversationState, Event, Moment, "list[Change]"], None]
_State = ConversationState
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription."

#: Type of a server event (GA name) -> its handler; other events leave the state unchanged.
_HANDLERS: Final[Mapping[str, _Handler]] = {
    "session.created": _State._session,
    "session.updated": _State._session,
    "session.closed": _State._session_closed,
    "session.usage.updated": _State._usage,
    "session.delegation.created": _State._delegated,
    "error": _State._error,
    "input_audio_buffer.speech_started": _State._speech_started,
    "input_audio_buffer.speech_stopped": _State._speech_stopped,
    "input_audio_buffer.committed": _State._committed,
    "input_audio_buffer.timeout_triggered": _State._timeout,
    "input_audio_buffer.dtmf_event_received": _State._dtmf,
    "conversation.item.added": _State._item_added,
    "conversation.item.retrieved": _State._item_done,
    "conversation.item.done": _State._item_done,
    "conversation.item.deleted": _State._item_deleted,
    _TRANSCRIPTION + "completed": _State._transcript_ended,
    _TRANSCRIPTION + "failed": _State._transcript_ended,
    _TRANSCRIPTION + "segment": _State._transcript_segment,
    _TRANSCRIPTION + "updated": _State._transcript_updated,
    "response.created": _State._response_created,
    "response.output_item.added": _State._output_item,
    "response.output_item.done": _State._output_item,
    "response.output_audio_transcript.done": _State._part_done,
    "response.output_text.done": _State._part_done,
    "response.function_call_arguments.done": _State._arguments_done,
    "response.mcp_call_arguments.done": _State._arguments_done,
    "response.mcp_call.in_progress": _State._mcp_call,
    "response.mcp_call.completed": _State._mcp_call,
    "response.mcp_call.failed": _State._mcp_call,
    "mcp_list_tools.in_progress": _State._mcp_list,
    "mcp_list_tools.completed": _State._mcp_list,
    "mcp_list_tools.failed": _State._mcp_list,
    "response.done": _State._response_done,
}
