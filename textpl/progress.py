"""Progress bars: ours, which TQDM_DISABLE=1 turns off, and those of other libraries, kept away for a while."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import datasets
from tqdm.auto import tqdm


def progress_bar(rows: Iterable[Any] | None = None, *, shown: bool = True, **settings: Any) -> Any:
    """A tqdm bar.

    tqdm reads its environment (`TQDM_DISABLE=1`) only for what the caller leaves open: `disable=False` would win.

    Args:
        rows: what to go through; None for a bar that is moved by `update`.
        shown: False for none, whatever the environment says.
        settings: of tqdm, without `disable`.
    """
    return tqdm(rows, **settings) if shown else tqdm(rows, disable=True, **settings)


@contextlib.contextmanager
def quiet_datasets(*, errors: bool = True) -> Iterator[None]:
    """No bar of datasets meanwhile, and with `errors=False` no line of it about what it raises anyway."""
    shown, level = not datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    if shown:
        datasets.disable_progress_bars()
    if not errors:
        datasets.logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if shown:
            datasets.enable_progress_bars()


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """No bar of transformers ("Loading weights") and the Hub client meanwhile; afterwards as it was."""
    from transformers.utils import logging as hf_logging

    shown = hf_logging.is_progress_bar_enabled()
    if shown:
        hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            hf_logging.enable_progress_bar()
