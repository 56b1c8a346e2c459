"""Match each response with the ``response.create`` that asked for it.

Several requests can be open at once, and the server may create their responses in any order. The
rules, in order:

1. The server echoes ``metadata``: a response belongs to the oldest request with the same metadata.
   A response that echoes null belongs to a request without metadata. If there is no such request, a
   response outside the conversation still belongs to a request, because only clients ask for those.
2. A response outside the conversation (``conversation_id`` null) belongs to a request with
   ``conversation: "none"``, and other responses to other requests.
3. Among several candidates, the one whose other settings the response repeats comes first, then the
   oldest.
4. An ``error`` names the ``event_id`` of the request that it refuses, or says that a response is
   active. That request is withdrawn, even from a response with which it was matched: with server VAD
   a response may start by itself just before the client's request arrives.

A response that matches no request was started by the server itself (VAD), or by another client of the
same session.

Sources: https://platform.openai.com/docs/guides/realtime-conversations#create-responses-outside-the-default-conversation
and https://platform.openai.com/docs/api-reference/realtime-client-events/response/create.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_realtime.core.protocol.events import Event, JsonMapping
from otel_realtime.core.protocol.json_values import object_or_empty, text_or_none
from otel_realtime.core.protocol.responses import Moment

#: Settings of a request that the response repeats.
_REPEATED: Final = ("output_modalities", "modalities", "max_output_tokens", "temperature")
#: Maximum number of requests that are remembered; older ones are dropped.
MOST_OPEN: Final = 256


@dataclass(slots=True, eq=False)
class Request:
    """One ``response.create`` of the client.

    Attributes:
        moment: When it was sent.
        event_id: Id of the event; None if the client gave none.
        source: Its ``response`` object.
        response_id: Id of the response with which it was matched; None before.
    """

    moment: Moment
    event_id: str | None
    source: JsonMapping
    response_id: str | None = None

    @property
    def out_of_band(self) -> bool:
        """Whether it asks for a response outside the conversation."""
        return self.source.get("conversation") == "none"

    @property
    def metadata(self) -> JsonMapping:
        """The app's labels in the request; empty if there are none."""
        return object_or_empty(self.source.get("metadata"))


class Requests:
    """The client's requests for responses."""

    def __init__(self) -> None:
        self._open: list[Request] = []
        self._matched: list[Request] = []  # a refusal may still come for the latest ones

    def sent(self, event: Event, moment: Moment) -> None:
        """Note a ``response.create``."""
        source = object_or_empty(event.get("response"))
        self._open.append(Request(moment, text_or_none(event.get("event_id")), source))
        del self._open[:-MOST_OPEN]

    def match(self, response_id: str, source: JsonMapping) -> Request | None:
        """Return the request that asked for a response, and mark it as granted; None if none matches.

        Args:
            response_id: Id of the response.
            source: The ``response`` object of ``response.created``.
        """
        candidates = [request for request in self._open if _may_be(request, source)]
        if not candidates and _out_of_band(source):
            # The server never starts these by itself, and some gateways do not echo the metadata.
            candidates = [request for request in self._open if request.out_of_band]
        if not candidates:
            return None
        found = max(candidates, key=lambda request: _agreement(request, source))
        self._open.remove(found)
        found.response_id = response_id
        self._matched.append(found)
        del self._matched[:-MOST_OPEN]
        return found

    def disconnected(self) -> None:
        """Drop the requests of a connection that has closed."""
        self._open.clear()
        self._matched.clear()

    def refused(self, event_id: str | None, code: str | None) -> Request | None:
        """Withdraw the request that an ``error`` refuses; return it if it was already matched.

        Args:
            event_id: Id of the client's event that the error names; None if it names none.
            code: Code of the error.
        """
        if event_id is not None:
            for requests in (self._open, self._matched):
                for request in requests:
                    if request.event_id == event_id:
                        requests.remove(request)
                        return request if requests is self._matched else None
        elif code == _BUSY:
            # A response that is active only excludes requests within the conversation. The refused one is
            # the latest, because the server answers at once.
            for requests in (self._open, self._matched):
                for request in reversed(requests):
                    if not request.out_of_band:
                        requests.remove(request)
                        return request if requests is self._matched else None
        return None


#: Error code for a ``response.create`` while a response is active.
_BUSY: Final = "conversation_already_has_active_response"


def _out_of_band(source: JsonMapping) -> bool | None:
    """Return whether a response is outside the conversation; None if it does not say."""
    return source["conversation_id"] is None if "conversation_id" in source else None


def _may_be(request: Request, source: JsonMapping) -> bool:
    if _out_of_band(source) not in (None, request.out_of_band):
        return False
    if "metadata" in source:
        return dict(request.metadata) == dict(object_or_empty(source["metadata"]))
    return True


def _agreement(request: Request, source: JsonMapping) -> int:
    given = [key for key in _REPEATED if request.source.get(key) is not None]
    return sum(1 if request.source[key] == source.get(key) else -1 for key in given)
