"""Subtopics: what a tutor teaches, as data."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from src.state.configs import Record
from src.swarm.configs.decoding import SCHEMA, Part, Schema, decoded
from src.swarm.shapes.bounds import Count, Label, LongText, Name


class SubtopicConfig(Part, frozen=True, gc=False):
    """A piece of a topic."""

    topic: Name
    title: Name
    schema: Schema = SCHEMA
    content: LongText = ""
    order: Count = 0
    """Its place among the subtopics of its topic; equal ones in order of id."""
    level: Label = ""
    """How hard it is, in the words of the curriculum."""


Curriculum: TypeAlias = tuple[Record[SubtopicConfig], ...]
"""The living subtopics of one topic, in the order in which they are taught."""

_subtopics = msgspec.json.Decoder(SubtopicConfig)


def decode_subtopic(body: bytes) -> SubtopicConfig:
    """Return the subtopic in these bytes.

    Raises:
        InvalidCommand: out of bounds or of a wrong type; names the field.
    """
    return decoded(_subtopics, body)
