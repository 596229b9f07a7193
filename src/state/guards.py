"""Switches for the guards that keep the promises, so that a proof can show what each is for.

A guard is switched off only by a constructor argument: by tests and by `swarmstate demo
--sabotage`. No setting and no environment variable reaches this.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guards:
    """All on in every real server."""

    flush: bool = True
    """The write-behind buffer writes what is due."""
    announce: bool = True
    """An ack waits until its change was announced to the other servers."""
    epoch: bool = True
    """Owner and epoch are compared in the append; an owner past its deadline stops acting."""
    watermark: bool = True
    """An entry older than a version this server has heard of is no answer."""


ALL_ON = Guards()
