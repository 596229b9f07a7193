"""A language model for AgentSessions: it says what a test wrote down, and keeps what it heard."""

from __future__ import annotations

from collections import deque
from typing import Any

from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, NotGivenOr
from livekit.agents.llm import (
    LLM,
    ChatChunk,
    ChatContext,
    ChoiceDelta,
    FunctionToolCall,
    LLMStream,
    Tool,
    ToolChoice,
)

Reply = str | FunctionToolCall


class Written(LLM[Any]):
    """Gives its replies one after the other, without a network."""

    def __init__(self, *replies: Reply) -> None:
        super().__init__()
        self.replies = deque(replies)
        self.told: list[list[tuple[str, str]]] = []
        """For each reply the context: (role or type, text)."""

    def chat(
        self,
        *,
        chat_ctx: ChatContext,
        tools: list[Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        tool_choice: NotGivenOr[ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, Any]] = NOT_GIVEN,
    ) -> LLMStream:
        self.told.append(readable(chat_ctx))
        return _Stream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class _Stream(LLMStream):
    async def _run(self) -> None:
        assert isinstance(self._llm, Written)
        reply = self._llm.replies.popleft()
        delta = (
            ChoiceDelta(role="assistant", content=reply)
            if isinstance(reply, str)
            else ChoiceDelta(role="assistant", tool_calls=[reply])
        )
        self._event_ch.send_nowait(ChatChunk(id="reply", delta=delta))


def readable(chat_ctx: ChatContext) -> list[tuple[str, str]]:
    """Return the context as pairs of role, or type, and text."""
    found: list[tuple[str, str]] = []
    for item in chat_ctx.items:
        if item.type == "message":
            found.append((item.role, item.text_content or ""))
        elif item.type == "function_call":
            found.append((item.type, f"{item.name} {item.arguments}"))
        elif item.type == "function_call_output":
            found.append((item.type, item.output))
    return found
