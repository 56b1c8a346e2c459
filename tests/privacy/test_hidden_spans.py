"""Events admitted with content hidden, as every kind of span."""

from __future__ import annotations

import json

from otel_realtime.core.protocol.changes import Transcribed
from otel_realtime.core.protocol.responses import Response
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.tracing.inference import describe_inference
from otel_realtime.tracing.tool import tool_attributes, tool_result
from otel_realtime.tracing.transcription import transcription_attributes
from tests.support.span_tables import HEARD, LIMIT, NOTHING, OPENAI
from tests.support.streams import CALL, at


def test_nothing_of_a_hidden_call_shows_anywhere() -> None:
    """Events admitted with content hidden make spans without any of it."""
    state = ConversationState()
    texts = []
    for index, (is_sent, event) in enumerate(CALL):
        stored, _ = NOTHING.apply(event)
        step = state.send if is_sent else state.receive
        for change in step(stored, at(index)):
            if isinstance(change, Transcribed):
                texts.append(transcription_attributes(change, NOTHING, OPENAI, LIMIT))
    responses: list[Response] = list(state.responses.values())
    for response in responses:
        texts.append(describe_inference(response, state, HEARD, NOTHING, OPENAI, LIMIT).attributes)
    for call in state.calls.values():
        texts.append(tool_attributes(call.id, call.name, call.arguments, NOTHING, LIMIT))
        texts.append(tool_result(call.output, NOTHING, LIMIT))
    written = json.dumps(texts)
    words = ("Paris", "How is", "sunny", "noon", "brief")
    assert [] == [word for word in words if word in written]
    assert [] == [word for word in ("weather", "whisper-1", "item_1") if word not in written]
