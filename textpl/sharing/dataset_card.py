"""The README.md of a dataset whose labels textpl cleaned or made: what the columns mean and how far to trust them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textpl.cleaning.apply import SOURCES
from textpl.recipes.references import DATA_SUFFIXES
from textpl.sharing.card_text import merged, render, signed, with_front_matter
from textpl.sharing.labelled_rows import Cleaning, LabelledRows, Labelling

_SHOWN = 50  # labels that are named
_TEMPLATE = """\
# {{ name | md }}

{{ what | md }}

```python
from datasets import load_dataset

rows = load_dataset({{ arguments }})
```

{{ rows }} rows.{% if labels %} Labels: {{ labels[:shown] | map("md") | join(", ") }}\
{% if labels | length > shown %}, ...{% endif %}{% endif %}


## Columns

| column | meaning |
|--|--|
{% for column, meaning in columns %}
| {{ column | md }} | {{ meaning | md }} |
{% endfor %}

## Where the labels come from

{% for line in provenance %}
- {{ line | md }}
{% endfor %}
{% if command %}

With the data that it names, this makes them again:

    {{ command | indent(blank=true) }}
{% endif %}

## Limits

{% for limit in limits %}
- {{ limit | md }}
{% endfor %}
- Licence: {{ (license or "no licence given; ask whoever shared the data before you build on them") | md }}. The texts \
may have one of their own, from where they were taken.
"""


def dataset_card(
    rows: LabelledRows,
    *,
    repo_id: str,
    shards: str,
    revision: str | None = None,
    license: str | None = None,
    there: Mapping[str, Any] | None = None,
) -> str:
    """Make README.md for rows with labels that textpl cleaned or made.

    Args:
        rows: what is shared.
        repo_id: owner/name.
        shards: pattern of the files with the rows.
        revision: commit that holds the rows; the code to load them is pinned to it.
        license: identifier on the Hub, such as apache-2.0.
        there: metadata of the card that this one replaces.
    """
    told, cleaned = rows.told, isinstance(rows.told, Cleaning)
    made = {
        **({"license": license} if license else {}),
        "task_categories": ["text-classification"],
        "annotations_creators": ["machine-generated"],
        "tags": ["textpl", "textpl-cleaned" if cleaned else "textpl-pseudo-labels"],
        "configs": [{"config_name": "default", "data_files": [{"split": rows.split, "path": shards}]}],
    }
    metadata = merged(there or {}, made)
    pin = f', revision="{revision}"' if revision else ""
    body = render(
        _TEMPLATE,
        name=repo_id.split("/")[-1],
        what=_CLEANED if cleaned else _LABELLED,
        arguments=f'"{repo_id}"{pin}, split="{rows.split}"',
        rows=f"{len(rows.dataset):,}",
        labels=rows.label_names,
        shown=_SHOWN,
        columns=_columns(rows),
        provenance=_of_cleaning(rows, told) if isinstance(told, Cleaning) else _of_labelling(rows, told),
        command=told.command,
        limits=_limits_cleaned(told) if isinstance(told, Cleaning) else _LIMITS_LABELLED,
        license=metadata.get("license"),
    )
    return with_front_matter(metadata, signed(f"\n{body}", "dataset"))


def _columns(rows: LabelledRows) -> list[tuple[str, str]]:
    """Every column and what it means."""
    label = rows.label_column
    if isinstance(rows.told, Cleaning):
        out = "0 takes this label of the row out of the training" if rows.multi else "0 takes the row out"
        each = "; one per label" if rows.multi else ""
        known = {
            label: "the label after cleaning",
            f"given_{label}": "the label before any cleaning",
            "label_weight": f"how much the label counts in training: {out}{each}",
            "label_source": f"where the label comes from: {', '.join(SOURCES)}{each}",
            "p_error": "probability that something is wrong with the given label of this row",
        }
    else:
        known = {
            "label": "the label that was found" + ("; undecided ones are 0" if rows.multi else ""),
            "probabilities": "probability of every label, in the order of the labels",
            "confidence": "probability that the label is right, calibrated on the labelled rows",
            "label_source": "labeled: the same text is among the labelled rows; else the method",
            "evidence": "the rows that speak for the label: of which file, which row, how similar (cosine)",
            "reason": "why a row has no label",
        }
    return [(name, known.get(name, "as in the data that were read")) for name in rows.dataset.column_names]


def _of_cleaning(rows: LabelledRows, told: Cleaning) -> list[str]:
    noun = "labels of rows (cells)" if rows.multi else "rows"
    total = sum(rows.sources.values())
    done = [f"{rows.sources[name]:,} {name}" for name in SOURCES if name != "given" and rows.sources.get(name)]
    changed = f"Of {total:,} {noun}: {', '.join(done)}; the others are as given."
    found = [changed if done else f"All {total:,} {noun} are as given."]
    if isinstance(left := told.counts.get("without_label"), int) and left:
        found.append(f"{left:,} rows without a label are not here.")
    if isinstance(flagged := told.counts.get("flagged"), int):
        by = f" {told.method} (probabilities: {told.probabilities}; embeddings: {told.encoder})" if told.method else ""
        found.append(f"{flagged:,} looked wrong to the detector{by}.")
    if told.expected_right_changed is not None:
        share = f"{told.expected_right_changed:.2%}"
        found.append(f"Expected share of all right labels that were relabelled or masked by mistake: {share}.")
    settings = {name: value for name, value in told.settings.items() if value is not None}
    if settings:
        found.append("Settings: " + ", ".join(f"{name} {value}" for name, value in settings.items()) + ".")
    if told.source:
        found.append(f"Data: {_file_name(told.source)}.")
    return found + _versions(told)


def _of_labelling(rows: LabelledRows, told: Labelling) -> list[str]:
    cut = f" at confidence {told.threshold:.2f} or more" if told.threshold else ""
    found = [
        f"{told.selected:,} of {told.rows:,} rows got a label{cut}, by {told.method} on embeddings of {told.encoder}."
    ]
    if told.expected_precision is not None:
        interval = told.precision_coverage.interval(told.threshold)
        more = (
            ""
            if interval is None
            else "; of those as confident, {:.0f} to {:.0f} % were right (95 %)".format(
                *(100 * end for end in interval)
            )
        )
        found.append(
            f"Expected share of right ones among these labels: {100 * told.expected_precision:.1f} %, from labelled "
            f"rows with labels hidden{more}."
        )
    if copied := rows.sources.get("labeled"):
        found.append(f"{copied:,} of them have the text of a labelled row, and its label.")
    if told.labeled and told.unlabeled:
        found.append(f"Labelled rows: {_file_name(told.labeled)}; texts: {_file_name(told.unlabeled)}.")
    return found + _versions(told)


def _file_name(source: str) -> str:
    """A file without the folders that only the pusher has; other names as they are."""
    return source.split("/")[-1] if source.endswith(DATA_SUFFIXES) else source


def _versions(told: Cleaning | Labelling) -> list[str]:
    return ["Made with " + ", ".join(f"{n} {v}" for n, v in told.versions.items()) + "."] if told.versions else []


def _limits_cleaned(told: Cleaning) -> list[str]:
    """The most important one first: how often the detector is wrong."""
    flagged, right = told.counts.get("flagged"), told.expected_right_flagged
    how_many = ""
    if isinstance(flagged, int) and right is not None:
        how_many = (
            f" By its own probabilities about {right:,.0f} of the {flagged:,} that looked wrong are right as given."
        )
    return [f"{_FOUND_BY_A_MODEL}{how_many}", *_LIMITS_CLEANED]


_CLEANED = "Texts with labels that textpl looked through for errors: what looked wrong was changed or weighs less."
_LABELLED = "Texts that nobody labelled, with labels that textpl found from a few labelled ones by their embeddings."
_FOUND_BY_A_MODEL = (
    "Errors were found by a model: some labels that look wrong are right, and errors that look right are still there."
)
_LIMITS_CLEANED = (
    "What the labels were is kept, so that nothing is lost: textpl.undo(rows) gives back the given labels.",
    "Do not test on these rows: cleaned by a model, they flatter that model and its like.",
    "In training, heed the weights: textpl.attach(trainer, textpl.NoisyLabels()).",
)
_LIMITS_LABELLED = (
    "No person has seen these labels; some are wrong, more of them where confidence is low.",
    "Confidences are calibrated on the labelled rows: on texts of another kind they promise too much.",
    "Do not test on these rows.",
    "evidence names rows by their number in the two files that were read; the labelled one is not here.",
)
