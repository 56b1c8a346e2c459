"""Decides by the request path which websockets may carry a conversation."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate
from functools import lru_cache

from otel_realtime.settings import Settings, realtime_paths


def is_realtime(path: str, settings: Settings | None) -> bool:
    """Return whether a request path matches one of ``Settings.realtime_paths``.

    Args:
        path: the path.
        settings: settings of the process; ``None`` means the environment's.
    """
    return _path_rule(realtime_paths(settings))(path) is not None


@lru_cache(maxsize=8)
def _path_rule(globs: tuple[str, ...]) -> Callable[[str], object]:
    return re.compile("|".join(map(translate, globs)) or r"(?!)").match
