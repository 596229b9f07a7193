"""Usage: tool calls and credits spent, counted for the conversation and for each bot."""

from __future__ import annotations

from msgspec.structs import replace

from src.state.models import Meta
from src.swarm.rules.members import bot
from src.swarm.rules.turns import responded, with_bot
from src.swarm.shapes.commands import CountUsage
from src.swarm.shapes.events import UsageCounted
from src.swarm.shapes.models import BotStats, ConversationState, Stats


def count(state: ConversationState, command: CountUsage) -> tuple[UsageCounted, ...]:
    """Decide what was used. Never refused for a limit: what is spent is spent."""
    if command.bot is not None:
        bot(state, command.bot, "bot")
    if not (command.tool_calls or command.credits or command.cycle_ended):
        return ()
    return (UsageCounted(command.tool_calls, command.credits, command.bot, command.cycle_ended),)


def counted(state: ConversationState, event: UsageCounted, meta: Meta) -> Stats:
    """Fold usage into the totals, and into the bot's own while it is a member."""
    stats = state.stats
    bots = stats.bots
    if event.bot is not None and state.participant(event.bot) is not None:
        calls, spent = event.tool_calls, event.credits
        more = BotStats(event.bot, calls, spent, 0, 0, calls, spent)
        bots = with_bot(bots, more)
        if event.cycle_ended:
            bots = responded(bots, event.bot)
    return replace(
        stats,
        tool_calls=stats.tool_calls + event.tool_calls,
        credits=stats.credits + event.credits,
        last_cycle_ended_at=meta.at if event.cycle_ended else stats.last_cycle_ended_at,
        bots=bots,
    )
