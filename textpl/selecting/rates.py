"""How frequent each label is in a pool, by a few labeled rows that each stand for a known share of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from textpl.reading.find_columns import declared_names
from textpl.reading.label_arrays import encode_labels
from textpl.reading.label_format import LabelFormat
from textpl.reading.labels import arrow_column
from textpl.relabeling.calibration import wilson_interval


@dataclass(frozen=True)
class ClassRates:
    """The share of the pool's texts that has each label.

    Attributes:
        label_names: name of each label.
        rates: float64 (labels,); single-label they sum to 1.
        low: float64 (labels,), lower ends of the intervals.
        high: float64 (labels,), upper ends.
        level: of the intervals, nominal.
        rows: labeled rows they rest on.
        effective: as many rows drawn at random would be as uneven: Kish's effective size.
        covered: the share of the pool that the labeled rows stand for; the rest is taken to be like them.
        left_out: labeled rows without a weight, which say nothing of rates (chosen where labels were in doubt).
    """

    label_names: tuple[str, ...]
    rates: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float
    rows: int
    effective: float
    covered: float
    left_out: int

    def __str__(self) -> str:
        shares = ", ".join(
            f"{name} {100 * rate:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
            for name, rate, low, high in zip(self.label_names, self.rates, self.low, self.high, strict=True)
        )
        rest = f"; {self.left_out:,} rows chosen by doubt say nothing of rates" if self.left_out else ""
        part = "" if self.covered > 0.995 else f", which stand for {100 * self.covered:.0f} % of the pool"
        return f"Label rates in the pool, by {self.rows:,} labeled rows{part}: {shares}{rest}."


def class_rates(
    labeled: Dataset,
    *,
    label_column: str = "label",
    weight_column: str = "weight",
    label_names: list[str] | None = None,
    label_format: LabelFormat | None = None,
    level: float = 0.95,
) -> ClassRates:
    """Estimate how frequent each label is in the pool that `textpl.select` chose rows of.

    The counts of labels among chosen rows are not those of the pool: a cluster of a thousand texts and one of ten give
    one row each. Each row therefore counts by the share of the pool that it stands for (its column `weight`).

    The interval is Wilson's at Kish's effective number of rows, 1 / sum of squared weights, as if the rows were drawn
    at random with these weights. That the central text of a cluster need not be like the rest of it is in no interval:
    docs/select.md says how often they held where it could be checked.

    When to use: to know a corpus. As `textpl.label(class_prior=...)` rates that were estimated from a few rows lose
    about a point (docs/select.md); shares that are known gain. For an estimate that rests on no assumption choose rows
    by `strategy="random"`.

    Args:
        labeled: rows with labels and weights, as `textpl.select` wrote them; rows without a label or weight are left
            out.
        label_column: name of the label column.
        weight_column: name of the column of weights.
        label_names: name of every label; default: the column's ClassLabel, or those found.
        label_format: how labels are written, where that is not to be found out.
        level: of the intervals.

    Returns:
        ClassRates.

    Raises:
        ValueError: for columns that are not there, weights that are negative or no numbers, and if no row has both.

    Example:
        >>> import textpl
        >>> from datasets import Dataset
        >>> rows = Dataset.from_dict({"text": ["a", "b", "c"], "label": ["yes", "no", "no"], "weight": [0.6, 0.3, 0.1]})
        >>> found = textpl.class_rates(rows)
        >>> dict(zip(found.label_names, found.rates.round(2).tolist()))
        {'no': 0.4, 'yes': 0.6}
    """
    for column in (label_column, weight_column):
        if column not in labeled.column_names:
            raise ValueError(
                f"labeled has no column {column!r}; its columns are {labeled.column_names}. Give rows that "
                "textpl.select chose, or name the columns by label_column= and weight_column=."
            )
    where = f"labeled, column {label_column!r}"
    encoded = encode_labels(
        arrow_column(labeled, label_column),
        where,
        label_names=declared_names({"labeled": labeled}, label_column, label_names),
        label_format=label_format,
        all_labeled=False,
    )
    weights = read_weights(labeled, weight_column)[encoded.cells.rows]
    count = len(encoded.coding.label_names)
    targets = encoded.array if encoded.array.ndim == 2 else np.eye(count)[encoded.array]
    return weighted_rates(targets, weights, encoded.coding.label_names, level)


def weighted_rates(targets: np.ndarray, weights: np.ndarray, names: tuple[str, ...], level: float = 0.95) -> ClassRates:
    """Estimate rates from arrays: see `class_rates`.

    Args:
        targets: (rows, labels) of 0 and 1.
        weights: float64 (rows,), shares of the pool, NaN for none.
        names: of the labels.
        level: of the intervals.

    Raises:
        ValueError: if no row has a weight.
    """
    used = np.isfinite(weights) & (weights > 0)
    if not used.any():
        raise ValueError(
            "No labeled row has a weight: rows chosen by doubt or from elsewhere stand for no known share of the pool. "
            "Label some that strategy='kmeans', in a first round, or 'random' chose."
        )
    share = weights[used] / weights[used].sum()
    rates = share @ np.asarray(targets, dtype=np.float64)[used]
    effective = float(1 / (share**2).sum())
    trials = np.full(len(rates), effective)
    low, high = wilson_interval(rates * effective, trials, level)
    return ClassRates(
        tuple(names),
        rates,
        low,
        high,
        level,
        int(used.sum()),
        effective,
        min(float(weights[used].sum()), 1.0),
        int((~used).sum()),
    )


def read_weights(rows: Dataset, column: str) -> np.ndarray:
    """Read weights as float64 (rows,), NaN where the cell is empty.

    Raises:
        ValueError: for one that is negative or no number; the row is named.
    """
    found = np.full(len(rows), np.nan)
    for row, value in enumerate(rows.with_format(None)[column][:]):
        if value is None or not str(value).strip():
            continue
        try:
            found[row] = float(str(value).replace(",", "."))  # spreadsheets of some countries
        except ValueError:
            found[row] = -1
        if found[row] < 0:
            raise ValueError(
                f"column {column!r}, row {row}: {value!r} is no share of the pool: leave that column as it was written."
            )
    return found
