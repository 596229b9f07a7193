"""Who answers a turn. Rules in order; the first that applies decides, and each has a name.

1. `not_running`   a conversation that is paused or over: nobody.
2. `named`, `all`  bots named by the caller, by @name, @id or @all in the text, or by "Name, ..." at
                   its beginning. Named but not there: nobody (`named_absent`).
3. `handed_off`    the bot that was passed the baton and has not spoken yet.
4. `subscribed`    bots that subscribe to the turn's topic.
5. `bot_turn`      what a bot or the system says needs no further answer: nobody.
6. `baton`         the holder of the baton. Not there: nobody (`holder_absent`); an absent holder
                   never means that somebody else may answer unasked.
7. `round_robin`, `keywords`, `moderator`   the moderator's policy, if one is set.
8. `default`       the default bot, else the bot with the highest priority.

A bot that is muted, disabled, unavailable or gone never answers; one that is `addressed_only` does
by the rules 2, 3 and 6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from src.swarm.configs import inheritance
from src.swarm.configs.bots import BotConfig
from src.swarm.shapes import free_json, topics, words
from src.swarm.shapes.models import ConversationState, Message, Participant

Reason = Literal[
    "not_running",
    "named",
    "all",
    "named_absent",
    "handed_off",
    "subscribed",
    "bot_turn",
    "baton",
    "holder_absent",
    "round_robin",
    "keywords",
    "moderator",
    "moderator_absent",
    "default",
    "default_absent",
    "no_bot",
]
_ABSENT = frozenset(("muted", "disabled", "unavailable", "left"))
_NO_CONFIGS: Mapping[str, BotConfig] = MappingProxyType({})
_TOPICS = {"person": "swarm/user", "system": "swarm/system"}


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The bots that should answer, in order of speaking, and the rule that chose them."""

    bots: tuple[str, ...]
    reason: Reason


def who_answers(
    state: ConversationState,
    turn: Message,
    *,
    named: tuple[str, ...] = (),
    topic: str | None = None,
    configs: Mapping[str, BotConfig] = _NO_CONFIGS,
) -> Answer:
    """Choose who answers `turn`, which is already in `state`.

    `named` are bots that the caller asks for beside those in the text ("@all" for all of them);
    `topic` is the turn's, by default swarm/user for people and swarm/system for the system;
    `configs` are the bots' configs, as far as known, for their modes and subscriptions.
    """
    if state.status not in ("ready", "running"):
        return Answer((), "not_running")
    choice = _Choice(state, turn, configs)
    return (
        choice.by_name(named)
        or choice.by_hand_off()
        or choice.by_topic(topic or _TOPICS.get(turn.author.kind))
        or (Answer((), "bot_turn") if turn.author.kind != "person" else None)
        or choice.by_baton()
        or choice.by_policy()
        or choice.by_default()
    )


def can_answer(member: Participant, config: BotConfig | None = None) -> bool:
    """Say whether this bot answers at all; the stricter of member and config counts."""
    muted = member.mode == "muted" or (config is not None and config.mode == "muted")
    return member.kind == "bot" and not muted and member.state not in _ABSENT


class _Choice:
    """The bots that could answer one turn; each method is a rule, None: it does not apply."""

    def __init__(
        self, state: ConversationState, turn: Message, configs: Mapping[str, BotConfig]
    ) -> None:
        self._state, self._turn, self._configs = state, turn, configs
        self._rules = inheritance.responder(state.config)
        self._bots = [
            bot
            for bot in sorted(state.bots, key=lambda bot: -bot.priority)
            if bot.id != turn.author.id and can_answer(bot, configs.get(bot.id))
        ]
        self._proactive = [bot for bot in self._bots if self._is_proactive(bot)]

    def by_name(self, named: tuple[str, ...]) -> Answer | None:
        asked = {*named, *_addressed(self._turn.text, self._state.bots)}
        asked.discard(self._turn.author.id)
        if not asked:
            return None
        if "@all" in asked:
            return Answer(_ids(self._bots), "all")
        bots = _ids(bot for bot in self._bots if bot.id in asked)
        return Answer(bots, "named" if bots else "named_absent")

    def by_hand_off(self) -> Answer | None:
        baton = self._state.baton
        if baton is None or baton.taken or baton.holder == self._turn.author.id:
            return None
        return self._one(baton.holder, "handed_off", "holder_absent")

    def by_topic(self, topic: str | None) -> Answer | None:
        if topic is None:
            return None
        subscribed = {
            bot
            for pattern, bots in free_json.read(self._state.config.event_subscriptions).items()
            if topics.matches(pattern, topic)
            for bot in bots
        } | {
            bot
            for bot, config in self._configs.items()
            if any(topics.matches(pattern, topic) for pattern in config.subscriptions)
        }
        bots = _ids(bot for bot in self._proactive if bot.id in subscribed)
        return Answer(bots, "subscribed") if bots else None

    def by_baton(self) -> Answer | None:
        baton = self._state.baton
        return None if baton is None else self._one(baton.holder, "baton", "holder_absent")

    def by_policy(self) -> Answer | None:
        rules = self._rules
        match rules.policy:
            case "default":
                return None
            case "round_robin":
                return self._round_robin()
            case "keywords":
                text = words.spoken(self._turn.text)
                keywords = free_json.read(rules.keywords)
                bots = _ids(
                    bot
                    for bot in self._proactive
                    if any(words.spoken(word) in text for word in keywords.get(bot.id, ()))
                )
                return Answer(bots, "keywords") if bots else None
            case "moderator":
                return self._one(rules.moderator or "", "moderator", "moderator_absent")

    def by_default(self) -> Answer:
        usual = self._rules.default_bot
        if usual is not None:
            return self._one(usual, "default", "default_absent", self._proactive)
        if not self._proactive:
            return Answer((), "no_bot")
        return Answer((self._proactive[0].id,), "default")

    def _round_robin(self) -> Answer | None:
        """The proactive bot after the one that spoke last, in order of joining."""
        order = [bot.id for bot in self._state.bots]
        allowed = {bot.id for bot in self._proactive}
        spoke = next(
            (turn.author.id for turn in reversed(self._state.messages) if turn.author.id in order),
            order[-1] if order else None,
        )
        start = order.index(spoke) + 1 if spoke is not None else 0
        following = [bot for bot in order[start:] + order[:start] if bot in allowed]
        return Answer((following[0],), "round_robin") if following else None

    def _one(
        self,
        bot_id: str,
        reason: Reason,
        absent: Reason,
        among: Iterable[Participant] | None = None,
    ) -> Answer:
        bots = self._bots if among is None else among
        found = any(bot.id == bot_id for bot in bots)
        return Answer((bot_id,), reason) if found else Answer((), absent)

    def _is_proactive(self, bot: Participant) -> bool:
        config = self._configs.get(bot.id)
        return bot.mode == "proactive" and (config is None or config.mode == "proactive")


def _ids(bots: Iterable[Participant]) -> tuple[str, ...]:
    return tuple(bot.id for bot in bots)


def _addressed(text: str, bots: tuple[Participant, ...]) -> set[str]:
    """Return the ids of the bots that the text speaks to, and "@all" if it speaks to all."""
    ids: dict[str, set[str]] = {}
    for bot in bots:
        for name in (bot.name, bot.id):
            ids.setdefault(name.casefold(), set()).add(bot.id)
    heard = text.casefold()
    begun = re.match(rf"\W*({_any_of(ids)})\s*[,:]", heard) if ids else None
    found = ids[begun[1]] if begun else set[str]()
    if "@" in heard:
        ids.setdefault("all", set()).add("@all")
        for name in re.findall(rf"(?<!\w)@({_any_of(ids)})(?!\w)", heard):
            found = found | ids[name]
    return found


def _any_of(names: Iterable[str]) -> str:
    """Return a pattern of names, the longest first: @Ada Lovelace does not call a bot named Ada."""
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
