"""What a conversation may still use: its limits against its statistics.

    limit_credits                   credits spent in the conversation
    limit_duration_s                time that its bots took for their turns, all together
    limit_tool_calls                tool calls asked for in the conversation
    limit_tool_calls_per_response   ... by one bot within its response under way
    limit_credits_per_response      credits that it spent within it

The first two keep bots from their next turn (`floor.py`), all of them keep a bot from a tool call.
What would begin is refused; what was said or spent is a fact and counts, beyond every limit too.
"""

from __future__ import annotations

from typing import Literal

from src.state.errors import Refused
from src.swarm.shapes.limits import EffectiveLimits, effective
from src.swarm.shapes.models import BotStats, ConversationState

UsedUp = Literal["limit_credits", "limit_duration_s"]


def used_up(state: ConversationState) -> UsedUp | None:
    """Return the limit that keeps every bot from its next turn; None if none does."""
    stats, limits = state.stats, effective(state.config.limits)
    if stats.credits >= limits.credits:
        return "limit_credits"
    if stats.responding_s >= limits.duration_s:
        return "limit_duration_s"
    return None


def check_tool_call(state: ConversationState, bot_id: str) -> None:
    """Raises Refused, with the limit's name as its code, if the bot may ask for no tool call."""
    limits = effective(state.config.limits)
    code = used_up(state) or _calls_used_up(state, bot_id, limits)
    if code is not None:
        limit = getattr(limits, code.removeprefix("limit_"))
        detail = f"conversation {state.id} has reached its {code}, {limit:g}; raise it or stop here"
        raise Refused(code, detail, field="tool")


def _calls_used_up(state: ConversationState, bot_id: str, limits: EffectiveLimits) -> str | None:
    if state.stats.tool_calls >= limits.tool_calls:
        return "limit_tool_calls"
    own = next((bot for bot in state.stats.bots if bot.bot == bot_id), BotStats(bot_id))
    if own.response_tool_calls >= limits.tool_calls_per_response:
        return "limit_tool_calls_per_response"
    if own.response_credits >= limits.credits_per_response:
        return "limit_credits_per_response"
    return None
