"""What a recipe lets `textpl run --tune` choose among: a few values of a few settings."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator

MOST = 50  # combinations
# No sizes of batches, by which equal compute is counted, and nothing that names a file or a model.
_KEY = re.compile(r"(method|label|clean|train)(\.[a-z_0-9]+)+")
_REFUSED = re.compile(r".*(teacher|encoder|column|batch_size|accumulation_steps|labeled_loss|\.name).*")
_WORD = re.compile(r"[A-Za-z_]{1,40}")


def check_tune(wanted: dict[str, Any]) -> dict[str, Any]:
    """The settings and their values, if they are some that can be chosen among; else ValueError."""
    for key, values in wanted.items():
        if not _KEY.fullmatch(key) or _REFUSED.fullmatch(key):
            raise ValueError(f"{key} cannot be tuned: name a setting as --set does, such as method.weight")
        if (
            not isinstance(values, (list, tuple))
            or len(values) < 2
            or len({json.dumps(v) for v in values}) < len(values)
        ):
            raise ValueError(f"{key}: give a list of two or more different values")
        for value in values:
            if not (isinstance(value, (bool, int, float)) or value is None or _WORD.fullmatch(str(value))):
                raise ValueError(f"{key}: numbers, true, false, null or words, not {value!r}")
    if math.prod(map(len, wanted.values())) > MOST:
        raise ValueError(f"{math.prod(map(len, wanted.values()))} combinations are too many: {MOST} at most")
    return wanted


TuneSettings = Annotated[dict[str, Any], AfterValidator(check_tune)]


def combinations(wanted: Mapping[str, Sequence[Any]], *, of: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Every combination of values, in the order of the recipe: setting -> value.

    Args:
        wanted: setting -> values.
        of: sections whose settings count; default: all.
    """
    kept = {key: values for key, values in wanted.items() if not of or key.split(".")[0] in of}
    return [dict(zip(kept, values, strict=True)) for values in itertools.product(*kept.values())]


def as_overrides(setting: Mapping[str, Any]) -> list[str]:
    """A combination as --set has it."""
    return [f"{key}={json.dumps(value)}" for key, value in setting.items()]


def told_setting(setting: Mapping[str, Any]) -> str:
    """A combination in words."""
    return ", ".join(f"{key} {value}" for key, value in setting.items()) or "the settings of the recipe"
