"""Words of a text, compared as people hear them: without case, punctuation or spacing."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")


def spoken(text: str) -> str:
    """Return the words in lower case, one space around each.

    So a phrase occurs in a text, as whole words, exactly if `spoken(phrase) in spoken(text)`.
    """
    return f" {' '.join(_WORD.findall(text.casefold()))} "
