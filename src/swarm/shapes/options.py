"""Options of providers: free in form, but no place for keys and addresses.

Configs are read by everybody who may see a bot, and kept in history, changes and backups. So keys
and the addresses they are sent to belong to the operator, who gives them a name (settings
`SWARMSTATE_ROOMS_PROVIDERS`); configs name that. The two go together: who could name an address
alone would be sent the server's own key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from src.state.errors import Refused

_SECRET = re.compile(
    r"(^|[_-])(key|apikey|token|secret|password|passwd|credentials?|headers)$", re.IGNORECASE
)
_ADDRESS = re.compile(r"(^|[_-])(url|uri|base|endpoint|host|proxy|server)$", re.IGNORECASE)
_LOCATED = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def accept(options: Mapping[str, object], field: str) -> None:
    """Look at the options that a config gives a provider.

    Raises:
        Refused: one is a key or an address by its name, or an address by its value.
    """
    for name, value in options.items():
        if _SECRET.search(name):
            _refuse("is a secret, and everybody may read it here", field, name)
        if _ADDRESS.search(name) or (isinstance(value, str) and _LOCATED.match(value)):
            _refuse("says where the provider is", field, name)


def _refuse(why: str, field: str, name: str) -> None:
    raise Refused(
        "invalid",
        f"{field}.{name} {why}; let the operator name the provider with its key and address in "
        "SWARMSTATE_ROOMS_PROVIDERS, and write that name before the slash of plugin/model",
        field=f"{field}.{name}",
    )
