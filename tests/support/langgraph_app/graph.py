"""A LangGraph app whose only node holds a call; ``langgraph dev`` serves it."""

from __future__ import annotations

import os
from typing import TypedDict

from langgraph.graph import END, START, StateGraph

import otel_realtime
from tests.support.talking import weather_call

otel_realtime.configure()
otel_realtime.instrument()


class State(TypedDict, total=False):
    """What the graph passes on."""

    spoken: bool


async def call(state: State) -> State:
    """One whole call: two tools, a barge-in, a hang-up."""
    await weather_call(os.environ["SERVER"])
    return {"spoken": True}


builder = StateGraph(State)
builder.add_node("call", call)
builder.add_edge(START, "call")
builder.add_edge("call", END)
graph = builder.compile()
