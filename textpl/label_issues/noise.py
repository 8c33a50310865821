"""How often the labels of a report go wrong: which estimate, from what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from textpl.cleaning.noise_rates import (
    RateEstimate,
    rates_from_clusterability,
    rates_from_posterior,
    rates_from_trusted,
)
from textpl.cleaning.transition import (
    TransitionEstimate,
    transition_from_anchors,
    transition_from_clusterability,
    transition_from_posterior,
    transition_from_trusted,
)
from textpl.embeddings.graph import NeighborGraph
from textpl.label_issues.findings import Findings

Source = Literal["posterior", "anchors", "clusterability"]


def noise_rates(
    report: Findings,
    trusted_rows: Sequence[int] | None = None,
    trusted_labels: np.ndarray | None = None,
    source: Source = "posterior",
) -> RateEstimate | TransitionEstimate:
    """See `LabelReport.noise_rates`."""
    if (trusted_rows is None) != (trusted_labels is None):
        raise ValueError("Give trusted_rows and trusted_labels together.")
    if source not in get_args(Source):
        raise ValueError(f"source={source!r}: use 'posterior', 'anchors' or 'clusterability'.")
    if trusted_rows is not None:
        return _from_trusted(report, np.asarray(trusted_rows), np.asarray(trusted_labels))
    if source == "anchors":
        if report.multi or "model" not in report.detection.evidence:
            raise ValueError("source='anchors' needs one label per row and a report with the model's probabilities.")
        return transition_from_anchors(report.given, report.detection.evidence["model"])
    if source == "clusterability":
        return _from_neighbors(report)
    if report.multi:
        return rates_from_posterior(report.given, report.p_true)
    return transition_from_posterior(report.given, report.p_true)


def _from_trusted(report: Findings, rows: np.ndarray, right: np.ndarray) -> RateEstimate | TransitionEstimate:
    given = report.given[rows]
    if right.shape != given.shape:
        raise ValueError(f"trusted_labels of shape {right.shape} for {len(given)} rows: expected {given.shape}.")
    if report.multi:
        return rates_from_trusted(given, right)
    return transition_from_trusted(given, right, len(report.label_names))


def _from_neighbors(report: Findings) -> RateEstimate | TransitionEstimate:
    if report.neighbors is None:
        raise ValueError("source='clusterability' needs neighbours: find the issues with an encoder.")
    graph = NeighborGraph(report.neighbors, np.zeros(report.neighbors.shape, dtype=np.float32))
    if report.multi:
        return rates_from_clusterability(report.given, graph)
    return transition_from_clusterability(report.given, graph, len(report.label_names))
