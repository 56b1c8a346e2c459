"""The voice app of the longer call: the small app with further features of a real one.

The server speaks by itself after a silence; MCP tools may be called once a person allows it; and the
first question is classified by an out-of-band response.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from otel_realtime.demo.app import TOOLS, VoiceApp
from otel_realtime.demo.wire import new_id

if TYPE_CHECKING:
    from openai.resources.realtime.realtime import AsyncRealtimeConnection
    from openai.types.realtime import (
        ConversationItemInputAudioTranscriptionCompletedEvent,
        InputAudioBufferTimeoutTriggered,
        RealtimeMcpApprovalRequest,
        ResponseDoneEvent,
    )

#: The shortest idle timeout that the API allows.
IDLE_TIMEOUT_MS: Final = 5_000
#: How long the person at the screen takes to allow a call.
APPROVAL_S: Final = 0.8
MCP_SERVER: Final = "warnings"
MCP_TOOL: Final = {
    "type": "mcp",
    "server_label": MCP_SERVER,
    "server_url": "https://weather.example/mcp",
    "require_approval": "always",
}
TOPIC: Final = "classification"
CLASSIFY: Final = "Classify the user's question. Answer with one word: weather, travel or other."


class AssistantApp(VoiceApp):
    """One call between a user and the model; takes the arguments of ``VoiceApp``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.classified = False
        self.asking: set[asyncio.Task[None]] = set()

    def session(self) -> dict[str, object]:
        """Return the configuration of the session."""
        session: dict[str, Any] = super().session()
        session["audio"]["input"]["turn_detection"]["idle_timeout_ms"] = IDLE_TIMEOUT_MS
        session["tools"] = [*TOOLS, MCP_TOOL]
        return session

    async def on_user_transcript(
        self,
        connection: AsyncRealtimeConnection,
        event: ConversationItemInputAudioTranscriptionCompletedEvent,
    ) -> None:
        """Show what the user said, and have the first question classified.

        https://platform.openai.com/docs/guides/realtime-conversations#create-responses-outside-the-default-conversation
        """
        await super().on_user_transcript(connection, event)
        if self.classified:
            return
        self.classified = True
        await connection.response.create(
            response={
                "conversation": "none",
                "metadata": {"topic": TOPIC},
                "output_modalities": ["text"],
                "instructions": CLASSIFY,
                # Only the question, not the whole conversation.
                "input": [{"type": "item_reference", "id": event.item_id}],
            }
        )

    async def on_timeout(
        self, connection: AsyncRealtimeConnection, event: InputAudioBufferTimeoutTriggered
    ) -> None:
        """Show that the server speaks because nobody spoke."""
        silent_s = (event.audio_end_ms - event.audio_start_ms) / 1000
        self.show(f"          (nobody spoke for {silent_s:.0f} s)")

    async def on_response_done(
        self, connection: AsyncRealtimeConnection, event: ResponseDoneEvent
    ) -> None:
        """Show a classification, run the called functions, and ask for approval of MCP calls."""
        response = event.response
        output: list[Any] = response.output or []
        if response.metadata and response.metadata.get("topic") == TOPIC:
            self.show(f"   topic  {output[0].content[0].text}")
            return
        for item in output:
            if item.type == "mcp_approval_request":
                # In a separate task, because events must be handled while the person decides.
                task = asyncio.create_task(self.approve(connection, item))
                self.asking.add(task)
                task.add_done_callback(self.asking.discard)
            elif item.type == "mcp_call":
                self.show(f"     mcp  {item.name}({item.arguments}) -> {item.output}")
        await super().on_response_done(connection, event)

    async def approve(
        self, connection: AsyncRealtimeConnection, request: RealtimeMcpApprovalRequest
    ) -> None:
        """Ask a person whether the server may run a tool, and send the answer to the server."""
        self.show(f"          (may the model call {request.name}?)")
        await asyncio.sleep(APPROVAL_S)
        self.show("          (yes)")
        await connection.conversation.item.create(
            item={
                "type": "mcp_approval_response",
                "id": new_id("mcpa"),
                "approval_request_id": request.id,
                "approve": True,
            }
        )

    handlers: ClassVar[
        Mapping[str, Callable[[Any, AsyncRealtimeConnection, Any], Awaitable[None]]]
    ] = {
        **VoiceApp.handlers,
        "input_audio_buffer.timeout_triggered": on_timeout,
        "response.done": on_response_done,
        "conversation.item.input_audio_transcription.completed": on_user_transcript,
    }
