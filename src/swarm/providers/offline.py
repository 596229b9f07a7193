"""`offline/rules`: replies from the script in the bot's config. No network, no key, no chance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from src.swarm.configs import script
from src.swarm.configs.bots import OFFLINE, BotConfig, stage_options
from src.swarm.providers import ReplyPart, ReplyRequest, Teaching, Text, ToolCall


class OfflineProvider:
    """Plays each bot's script: the same request gives the same reply on every machine."""

    async def generate(self, request: ReplyRequest) -> AsyncIterator[ReplyPart]:
        """Stream at most one tool call and one text.

        Raises:
            Refused: the bot's config holds no valid script; configs are checked when they are
                saved, so this one came another way.
        """
        played = _script(request.bot)
        if think_s := played.think_s(request.turn.id):
            await asyncio.sleep(think_s)
        places, turns = _places(request), _turns(request)
        line = script.play(played, request.turn.text, places, turns)
        if line.call is not None and any(tool.name == line.call.tool for tool in request.tools):
            yield ToolCall(line.call.tool, line.call.arguments)
            # The same rule again, which may now say what came of its call.
            places["outcome"] = request.outcome().text
            line = script.play(played, request.turn.text, places, turns)
        if line.text:
            yield Text(line.text)


def _script(bot: BotConfig) -> script.Script:
    """Return the bot's script; the plain one where this provider only stands in for another."""
    if bot.providers.llm not in ("", OFFLINE):
        return script.Script()
    return script.parse(stage_options(bot.providers, "llm"), "providers.options.llm")


def _places(request: ReplyRequest) -> dict[str, str]:
    state, bot = request.state, request.bot
    teaching = request.teaching or Teaching()
    people = [member.name for member in state.participants if member.kind == "person"]
    return {
        "speaker": request.turn.author.name,
        # Without @: an echo must not call the bots again that the turn called.
        "text": request.turn.text.replace("@", ""),
        "goal": state.config.goal or bot.goal,
        "bot": bot.name,
        "role": bot.role,
        "turn": str(state.stats.turns),
        "people": ", ".join(people),
        "bots": ", ".join(member.name for member in state.bots),
        "subtopic": teaching.title,
        "content": teaching.content,
        "outcome": "",
    }


def _turns(request: ReplyRequest) -> int:
    stats = request.state.stats.bots
    return next((bot.turns for bot in stats if bot.bot == request.bot_id), 0)
