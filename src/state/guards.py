"""Switches for the guards that keep the promises, so that a proof can show what each is for.

A guard is switched off only by a constructor argument: by tests and by `swarmstate demo
--sabotage`. No setting and no environment variable reaches this. Off stands for the mistake that
somebody would really make in its place. `tests/guards` shows for each one the invariant that
breaks without it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guards:
    """All on in every real server."""

    # -- appending -------------------------------------------------------------------------------

    epoch: bool = True
    """Owner and epoch are compared in the append."""
    seq: bool = True
    """The seq that a claim builds on is compared in the append."""
    whole: bool = True
    """A claim goes in whole or not at all. Off: what conflicts is left out of it."""
    lookup: bool = True
    """A key is looked up in the log before its command is refused or its claim called lost."""
    resend: bool = True
    """Without an answer the same rows are sent again, and nothing else of their conversation.
    Off: no answer is taken for a refusal."""
    announce: bool = True
    """What was logged is announced to the other servers."""
    ack: bool = True
    """The ack waits for the announcement. Off: it is made afterwards."""

    # -- reading ---------------------------------------------------------------------------------

    head: bool = True
    """An L2 body below its head or of another incarnation is no answer."""
    inclusive: bool = True
    """A tail is read from its base's own event on, and a base whose event differs is thrown away.
    Off: from the event after it."""
    watermark: bool = True
    """An entry older than a version this server has heard of is no answer."""
    token: bool = True
    """A load that a doubt or a write has overtaken fills nothing."""
    newer: bool = True
    """L1, L2 and L3 keep what they have when something older is put."""
    clock: bool = True
    """Readers compare the clock with the lease. Off: a timer sets a flag when it has run out."""
    pinning: bool = True
    """The owner answers with what it holds. Off: with what L1 has not evicted."""

    # -- hearing ---------------------------------------------------------------------------------

    replay: bool = True
    """A gap in the numbers of the messages is replayed, or what it concerns is doubted."""
    pull: bool = True
    """A pull finds what the subscription missed. Off: it only shows that Redis answers."""
    incarnation: bool = True
    """When Redis begins another life, all copies are doubted and its numbers count anew."""
    silent: bool = True
    """While a server cannot tell Redis what changed, no copy of others' is trusted."""
    outbox: bool = True
    """A config is committed together with its announcement. Off: Redis alone is told."""

    # -- owning ----------------------------------------------------------------------------------

    fence: bool = True
    """A new owner takes the row first and reads second, exactly up to the row's seq."""
    deadline: bool = True
    """An owner past its deadline is a plain reader, and one that was replaced owns nothing."""
    sent: bool = True
    """Leases run from when the question was sent. Off: from when it was answered."""
    recount: bool = True
    """A poll that failed, or came late, starts every count of silence anew."""
    beat: bool = True
    """A server is declared dead only while its beat is still the one that was watched."""
    timeline: bool = True
    """Epochs lie above all of PostgreSQL's earlier timelines. Off: they only count up."""

    # -- flushing --------------------------------------------------------------------------------

    flush: bool = True
    """The write-behind buffer writes what is due."""


ALL_ON = Guards()
