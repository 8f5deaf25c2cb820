"""Third parties' scorers, signals, diversifiers and enrichers, found through entry points.

A package names a factory in one of the groups below; the operator names the entry point in the
settings, and `[plugins.NAME]` is handed to the factory as a mapping. A request can name none.
docs/plugins.md has the protocols and an example.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Literal

from es_rerank.errors import ConfigError

Kind = Literal["scorer", "signal", "diversifier", "enricher"]
GROUPS: Mapping[Kind, str] = {
    "scorer": "es_rerank.scorers",
    "signal": "es_rerank.signals",
    "diversifier": "es_rerank.diversifiers",
    "enricher": "es_rerank.enrichers",
}


def load_plugin(kind: Kind, name: str, options: Mapping[str, Mapping[str, Any]]) -> Any:
    """Find, import and make one plugin. options: the `[plugins]` tables, by plugin name.

    Raises ConfigError when there is none of that name, or when it cannot be imported or made.
    """
    known = {point.name: point for point in entry_points(group=GROUPS[kind])}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"installed: {', '.join(known) or 'none'}"
        raise ConfigError(
            f"there is no {kind} {name!r} among the entry points of {GROUPS[kind]}: {hint}"
        )
    try:
        return known[name].load()(dict(options.get(name, {})))
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"the {kind} {name!r} ({known[name].value}) cannot be made with the options in "
            f"[plugins.{name}]: {type(error).__name__}: {error}"
        ) from error
