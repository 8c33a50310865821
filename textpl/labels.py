"""Moved to `textpl.reading.labels`."""

from textpl.reading.labels import *  # noqa: F403
from textpl.reading.labels import (  # noqa: F401
    MULTI,
    SINGLE,
    LabelCoding,
    ProblemType,
    arrow_column,
    infer_coding,
    label_array,
    refuse,
)
