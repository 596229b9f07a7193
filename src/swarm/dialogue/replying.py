"""One bot's reply to one turn: asked for, spoken or written, its tools called, and logged once."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import timedelta

import structlog
from msgspec.structs import replace

from src.state.configs import Record
from src.state.models import command_key as key_of
from src.state.models import event_id
from src.state.protocols import Clock
from src.swarm.configs.bots import BotConfig, ProviderNames
from src.swarm.dialogue.calls import Calls, StateNow
from src.swarm.dialogue.generating import generate
from src.swarm.dialogue.reports import ConfigReports, command_key
from src.swarm.dialogue.room import Room
from src.swarm.dialogue.stage import Speech, Spoken, Writing
from src.swarm.in_force import InForce
from src.swarm.outage import Submit
from src.swarm.providers import ReplyRequest, Sound, Text
from src.swarm.providers.registry import Registry
from src.swarm.rules import lessons
from src.swarm.rules.tools import tools_of
from src.swarm.shapes import layers
from src.swarm.shapes.commands import CutSpeech, PostMessage, Speaker
from src.swarm.shapes.limits import effective
from src.swarm.shapes.models import ConversationState, Message
from src.swarm.shapes.models import Speech as Noted

log = structlog.get_logger(__name__)


class Replies:
    """Makes replies. A key is made of turn and bot, so a reply attempted twice is there once.

    One whose voice was cut off by the end of its host is another attempt than the next.
    """

    def __init__(
        self,
        registry: Registry,
        submit: Submit,
        in_force: InForce,
        reports: ConfigReports,
        state: StateNow,
        reply_timeout: timedelta,
        first_part_timeout: timedelta,
        clock: Clock,
    ) -> None:
        self._registry, self._submit = registry, submit
        self._in_force, self._reports, self._state = in_force, reports, state
        self._reply_timeout_s = reply_timeout.total_seconds()
        self._first_part_s = first_part_timeout.total_seconds()
        self._clock = clock
        self.count = 0

    async def reply(
        self,
        room: Room,
        state: ConversationState,
        turn: Message,
        bot_id: str,
        attempt: int,
        record: Record[BotConfig] | None,
    ) -> None:
        """Reply to a turn; the bot has the floor, and was cut off so often before.

        Raises:
            TimeoutError: it took too long, or a person spoke first; nothing of it was heard.
            Exception: whatever a provider's or a voice's library raises.
        """
        member = state.participant(bot_id)
        assert member is not None
        await self._reports.bot(state, member, record)
        bot = BotConfig(name=member.name or bot_id) if record is None else record.body
        voiced = await self._voiced(room, state, bot)
        calls = Calls(self._submit, self._in_force, self._state, state, turn, bot_id)
        taught = await self._in_force.taught(state, calls.person)
        tools = tools_of(state, taught, bot.tools)
        teaching = None if taught is None else lessons.teaching(taught)
        request = ReplyRequest(bot_id, bot, state, turn, tools, voiced, teaching, calls.outcome)
        key = command_key(f"reply-{attempt}" if attempt else "reply", turn.id, bot_id)
        version = None if record is None else record.version
        began = self._clock.monotonic()
        async with self._speech(room, request, key, version) as speech:
            spoken, interrupted = await self._speak(room, speech, request, calls)
        if not spoken.text:
            return
        # Both at once, so that a clock that was set back meanwhile cannot cross them.
        ended = self._clock.now()
        took_s = max(0.0, self._clock.monotonic() - began - spoken.silent_s)
        said = PostMessage(
            Speaker("bot", bot_id),
            spoken.text,
            reply_to=turn.id,
            started_at=ended - timedelta(seconds=took_s),
            ended_at=ended,
            interrupted=interrupted,
            spoken_until=spoken.spoken_until if interrupted else None,
            metrics=spoken.metrics,
            config_version=version,
        )
        await self._submit(state.id, said, key, bot_id)
        self.count += 1

    async def cut(self, conversation_id: str, speech: Noted) -> None:
        """Keep what is known of a speech that nobody ends, under the key that its reply had."""
        key = key_of(speech.id)
        await self._submit(conversation_id, CutSpeech(speech.id), key, speech.bot)
        log.info("speech.cut", conversation_id=conversation_id, bot=speech.bot)

    async def _voiced(self, room: Room, state: ConversationState, bot: BotConfig) -> ProviderNames:
        if room.stage is None:
            return ProviderNames()
        return layers.overlay(await self._in_force.providers(state), bot.providers)

    def _speech(
        self, room: Room, request: ReplyRequest, key: str, version: int | None
    ) -> AbstractAsyncContextManager[Speech]:
        if room.stage is None or room.progress is None:
            return Writing()
        bot = replace(request.bot, providers=request.voiced)
        heard = room.progress.begin(event_id(key, 0), request.bot_id, request.turn.id, version)
        return room.stage.speech(request.bot_id, bot, heard)

    async def _speak(
        self, room: Room, speech: Speech, request: ReplyRequest, calls: Calls
    ) -> tuple[Spoken, bool]:
        """Say the parts as they come; return what was heard, and whether it was cut off."""
        limits = effective(request.state.config.limits)
        # What is spoken takes its time; then only the limit of a response bounds it.
        bound_s = limits.response_s
        if room.stage is None:
            bound_s = min(bound_s, self._reply_timeout_s)
        made_s = min(bound_s, self._reply_timeout_s)
        parts = generate(self._registry, request, reply_s=made_s, first_part_s=self._first_part_s)
        try:
            async with asyncio.timeout(bound_s) as room.reply, aclosing(parts):
                if room.floor.holder != request.bot_id:
                    # A person began to speak just before.
                    return Spoken(""), True
                async for part in parts:
                    if isinstance(part, Text):
                        await speech.add(part.text)
                    elif isinstance(part, Sound):
                        await speech.play(part)
                    else:
                        await calls.make(part)
                spoken = await speech.finish()
                return spoken, spoken.spoken_until is not None
        except Exception as error:
            # A time-out, a person's first word, a provider or a voice that failed: what was heard
            # of it was said, and is kept.
            spoken = await speech.interrupt()
            if not spoken.text and room.floor.holder == request.bot_id:
                raise
            log.info("reply.cut", bot=request.bot_id, heard=bool(spoken.text), error=repr(error))
            return spoken, True
        finally:
            room.reply = None
            if room.progress is not None:
                room.progress.end()
