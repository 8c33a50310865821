"""Moved to `textpl.reading.sources`."""

from textpl.reading.sources import *  # noqa: F403
from textpl.reading.sources import BUNDLED, READABLE, SPLIT_ALIASES, open_source  # noqa: F401
