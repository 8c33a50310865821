"""The former place of `push` and `pull`, which work from here for one more version."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

_MOVED = {"push": ("textpl.sharing.push_recipe", "push_recipe"), "pull": ("textpl.recipes.fetching", "pull")}


def __getattr__(name: str) -> Any:
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, new = _MOVED[name]
    warnings.warn(f"{__name__}.{name} is now {module}.{new}", DeprecationWarning, stacklevel=2)
    return getattr(importlib.import_module(module), new)
