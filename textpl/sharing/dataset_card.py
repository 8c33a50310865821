"""The README.md of a dataset whose labels textpl cleaned or made: what the columns mean and how far to trust them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from textpl.cleaning.apply import SOURCES
from textpl.recipes.hub.card_text import merged, render, signed, with_front_matter
from textpl.recipes.references import DATA_SUFFIXES
from textpl.sharing.labelled_rows import Cleaning, LabelledRows, Labelling

_SHOWN = 50  # labels that are named
_TEMPLATE = """\
# {{ name | md }}

{{ what | md }}

```python
from datasets import load_dataset

rows = load_dataset({{ arguments }})
```

{{ size | md }}{% if labels %} Labels: {{ shown | map("md") | join(", ") }}\
{% if labels | length > shown | length %}, ...{% endif %}{% endif %}


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

## Make it again

{% if command %}
    {{ command | indent(blank=true) }}

{{ remark | md }}
{% else %}
The command was not recorded.
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
    revision: str | None = None,
    license: str | None = None,
    there: Mapping[str, Any] | None = None,
) -> str:
    """README.md for rows with labels that textpl cleaned or made.

    Args:
        rows: what is shared.
        repo_id: owner/name.
        revision: commit that holds the rows; the code to load them is pinned to it.
        license: identifier on the Hub, such as apache-2.0.
        there: metadata of the card that this one replaces.
    """
    metadata = merged(there or {}, dataset_metadata(rows, license))
    pin = f', revision="{revision}"' if revision else ""
    body = render(
        _TEMPLATE,
        name=repo_id.split("/")[-1],
        what=_what(rows),
        arguments=f'"{repo_id}"{pin}, split="{rows.split}"',
        size=f"{len(rows.dataset):,} rows.",
        labels=rows.label_names,
        shown=rows.label_names[:_SHOWN],
        columns=columns(rows),
        provenance=_of_cleaning(rows, rows.told) if isinstance(rows.told, Cleaning) else _of_labelling(rows, rows.told),
        command=_command(rows.told),
        remark="It needs the data that it names.",
        limits=_limits_cleaned(rows.told) if isinstance(rows.told, Cleaning) else _LIMITS_LABELLED,
        license=metadata.get("license"),
    )
    return with_front_matter(metadata, signed(f"\n{body}", "dataset"))


def dataset_metadata(rows: LabelledRows, license: str | None) -> dict[str, Any]:
    """What the Hub files a dataset under."""
    kind = "textpl-cleaned" if rows.made_by == "clean" else "textpl-pseudo-labels"
    return {
        **({"license": license} if license else {}),
        "task_categories": ["text-classification"],
        "annotations_creators": ["machine-generated"],
        "tags": ["textpl", kind],
    }


def columns(rows: LabelledRows) -> list[tuple[str, str]]:
    """Every column and what it means."""
    label = rows.label_column
    if isinstance(rows.told, Cleaning):
        each = (
            "one per label, 0 takes this label of the row out of the training" if rows.multi else "0 takes the row out"
        )
        known = {
            label: "the label after cleaning",
            f"given_{label}": "the label before any cleaning",
            "label_weight": f"how much the label counts in training: {each}",
            "label_source": f"where the label comes from: {', '.join(SOURCES)}{_per_label(rows)}",
            "p_error": "probability that something is wrong with the given label of this row",
        }
    else:
        cells = "; undecided ones are 0" if rows.multi else ""
        known = {
            "label": f"the label that was found{cells}",
            "probabilities": "probability of every label, in the order of the labels",
            "confidence": "probability that the label is right, calibrated on the labelled rows",
            "label_source": "labeled: the same text is among the labelled rows; else the method",
            "evidence": "the rows that speak for the label: of which file, which row, how similar (cosine)",
            "reason": "why a row has no label",
        }
    return [(name, known.get(name, _other(name))) for name in rows.dataset.column_names]


def _other(name: str) -> str:
    was = name.removeprefix("given_")
    return "as in the data that were read" + (f", where it was called {was}" if was != name else "")


def _what(rows: LabelledRows) -> str:
    if rows.made_by == "clean":
        return "Texts with labels that textpl looked through for errors: what looked wrong was changed or weighs less."
    return "Texts that nobody labelled, with labels that textpl found from a few labelled ones by their embeddings."


def _of_cleaning(rows: LabelledRows, told: Cleaning) -> list[str]:
    noun = "labels of rows (cells)" if rows.multi else "rows"
    total = sum(rows.sources.values())
    done = [f"{rows.sources[name]:,} {name}" for name in SOURCES if name != "given" and rows.sources.get(name)]
    changed = f"Of {total:,} {noun}: {', '.join(done)}; the others are as given."
    found = [changed if done else f"All {total:,} {noun} are as given."]
    if isinstance(left := told.counts.get("without_label"), int) and left:
        found.append(f"{left:,} rows without a label are not here.")
    if isinstance(flagged := told.counts.get("flagged"), int):
        found.append(f"{flagged:,} looked wrong to the detector{_detector(told)}.")
    if told.expected_right_changed is not None:
        share = f"{told.expected_right_changed:.2%}"
        found.append(f"Expected share of all right labels that were relabelled or masked by mistake: {share}.")
    else:
        found.append("How many right labels were changed by mistake was not recorded.")
    settings = {name: value for name, value in told.settings.items() if value is not None}
    if settings:
        found.append("Settings: " + ", ".join(f"{name} {value}" for name, value in settings.items()) + ".")
    if told.source:
        found.append(f"Data: {_file_name(told.source)}.")
    return found + _versions(told)


def _detector(told: Cleaning) -> str:
    """What found the errors: method, and where its probabilities and embeddings come from."""
    about = [f"probabilities: {told.probabilities}"] if told.probabilities else []
    if told.encoder not in (None, "none") and told.encoder not in (told.probabilities or ""):
        about.append(f"embeddings: {told.encoder}")
    method = f" {told.method}" if told.method else ""
    return f"{method} ({'; '.join(about)})" if about else method


def _of_labelling(rows: LabelledRows, told: Labelling) -> list[str]:
    cut = f" at confidence {told.threshold:.2f} or more" if told.threshold else ""
    found = [
        f"{told.selected:,} of {told.rows:,} rows got a label{cut}, by {told.method} on embeddings of {told.encoder}"
        f"{f', from {told.clusterability.gold:,} labelled rows' if told.clusterability.gold else ''}."
    ]
    if told.expected_precision is not None:
        share = f"{100 * told.expected_precision:.1f} %"
        found.append(
            f"Expected share of right ones among these labels: {share}, from labelled rows with labels hidden"
            f"{_interval(told)}."
        )
    if copied := rows.sources.get("labeled"):
        found.append(f"{copied:,} of them have the text of a labelled row, and its label.")
    tried = [f"{one.method}{f' (k={one.k})' if one.k else ''} {100 * score:.1f}" for one in told.tried
             if (score := one.accuracy if one.accuracy is not None else one.macro_f1) is not None]  # fmt: skip
    if told.labeled and told.unlabeled:
        found.append(f"Labelled rows: {_file_name(told.labeled)}; texts: {_file_name(told.unlabeled)}.")
    if tried:
        found.append(f"Tried on the labelled rows, each with its own label hidden, in %: {', '.join(tried)}.")
    return found + _versions(told)


def _interval(told: Labelling) -> str:
    found = told.precision_coverage.interval(told.threshold)
    return f"; of those as confident, {100 * found[0]:.0f} to {100 * found[1]:.0f} % were right (95 %)" if found else ""


def _file_name(source: str) -> str:
    """A file without the folders that only the pusher has; other names as they are."""
    return source.split("/")[-1] if source.endswith(DATA_SUFFIXES) else source


def _versions(told: Cleaning | Labelling) -> list[str]:
    return ["Made with " + ", ".join(f"{n} {v}" for n, v in told.versions.items()) + "."] if told.versions else []


def _command(told: Cleaning | Labelling) -> str:
    command = _clean_command(told) if isinstance(told, Cleaning) else told.command
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    return shlex.join(word if word.startswith("-") else _file_name(word) for word in words)


def _clean_command(told: Cleaning) -> str:
    """As recorded, or put together from what was."""
    if told.command or not told.source:
        return told.command
    words = ["textpl", "clean", told.source, "--out", "cleaned-corpus"]
    for name, value in {"text": told.text or None, "labels": told.labels or None, **told.settings}.items():
        option = (
            f"--{name.replace('_', '-').removesuffix('s') if name == 'unlabeled_values' else name.replace('_', '-')}"
        )
        if isinstance(value, list):
            joined = [",".join(map(str, value))] if name == "label_names" else [str(v) for v in value] or [""]
            words += [word for part in joined for word in (option, part)]
        elif value is True:
            words.append(option)
        elif isinstance(value, (str, int, float)) and value is not False:
            words += [option, str(value)]
    return shlex.join(words)


def _per_label(rows: LabelledRows) -> str:
    return "; one per label" if rows.multi else ""


def _limits_cleaned(told: Cleaning) -> list[str]:
    """The most important one first: how often the detector is wrong."""
    flagged, right = told.counts.get("flagged"), told.expected_right_flagged
    if not isinstance(flagged, int) or right is None:
        return [_FOUND_BY_A_MODEL, *_LIMITS_CLEANED]
    how_many = f"about {right:,.0f} of the {flagged:,} that looked wrong are right as given"
    return [f"{_FOUND_BY_A_MODEL} By its own probabilities {how_many}.", *_LIMITS_CLEANED]


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
