"""The README.md of a dataset whose labels textpl cleaned or made: what the columns mean and how far to trust them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from textpl.cleaning.apply import SOURCES
from textpl.recipes.references import DATA_SUFFIXES, is_elsewhere
from textpl.recipes.run_header import last_part
from textpl.sharing.card_text import merged, render, signed, with_front_matter
from textpl.sharing.labelled_rows import LabelledRows

_SHOWN = 50  # labels that are named
_TAGS = ("textpl-pseudo-labels", "textpl-cleaned")
# What is told of `cleaning.json`, and of the report of `textpl label`.
_TOLD = {
    "source": "Data",
    "labeled": "Labelled rows",
    "unlabeled": "Texts",
    "method": "Method",
    "encoder": "Embeddings",
    "probabilities": "Probabilities",
    "settings": "Settings",
    "counts": "Counts",
    "rows": "Rows that were read",
    "selected": "Rows that got a label",
    "threshold": "Least confidence of these",
    "expected_precision": "Expected share of right ones among these labels, from labelled rows with labels hidden",
    "expected_right_flagged": "Expected number of flagged labels that are right as given",
    "expected_right_changed": "Expected share of all right labels that were changed by mistake",
    "versions": "Made with",
}
_COLUMNS_CLEANED = {
    "label_weight": "how much the label counts in training: 0 takes it out",
    "label_source": f"where the label comes from: {', '.join(SOURCES)}",
    "p_error": "probability that something is wrong with the given label of this row",
}
_COLUMNS_LABELLED = {
    "label": "the label that was found; undecided ones of several are 0",
    "probabilities": "probability of every label, in the order of the labels",
    "confidence": "probability that the label is right, calibrated on the labelled rows",
    "label_source": "labeled: the same text is among the labelled rows; else the method",
    "evidence": "the rows that speak for the label: of which file, which row, how similar (cosine)",
    "reason": "why a row has no label",
}
_CLEANED = "Texts with labels that textpl looked through for errors: what looked wrong was changed or weighs less."
_LABELLED = "Texts that nobody labelled, with labels that textpl found from a few labelled ones by their embeddings."
_LIMITS_CLEANED = (
    "Errors were found by a model: some labels that look wrong are right, and errors that look right are still there.",
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


def dataset_card(
    rows: LabelledRows,
    *,
    repo_id: str,
    revision: str | None = None,
    license: str | None = None,
    there: Mapping[str, Any] | None = None,
) -> str:
    """Make README.md for rows with labels that textpl cleaned or made.

    Args:
        rows: what is shared.
        repo_id: owner/name.
        revision: commit that holds the rows; the code to load them is pinned to it.
        license: identifier on the Hub, such as apache-2.0.
        there: metadata of the card that this one replaces; its other splits stay, if their columns can be the same.
    """
    tag, other = _TAGS[rows.cleaned], _TAGS[not rows.cleaned]
    there = {key: value for key, value in (there or {}).items() if key != "dataset_info"}  # of rows before these
    tags = there.get("tags")
    mixed = other in (tags or ())
    if isinstance(tags, list):
        there["tags"] = [name for name in tags if name != other]
    made = {
        **({"license": license} if license else {}),
        "task_categories": ["text-classification"],
        "annotations_creators": ["machine-generated"],
        "tags": ["textpl", tag],
        "configs": _configs(rows, None if mixed else there.get("configs")),
    }
    metadata = merged(there, made)
    pin = f', revision="{revision}"' if revision else ""
    body = render(
        "dataset.md",
        name=repo_id.split("/")[-1],
        what=_CLEANED if rows.cleaned else _LABELLED,
        arguments=f'"{repo_id}"{pin}, split="{rows.split}"',
        rows=f"{len(rows.dataset):,}",
        labels=rows.label_names,
        shown=_SHOWN,
        columns=_columns(rows),
        provenance=_provenance(rows),
        command=_command(str(rows.told.get("command") or "")),
        limits=_LIMITS_CLEANED if rows.cleaned else _LIMITS_LABELLED,
        license=metadata.get("license"),
    )
    return with_front_matter(metadata, signed(f"\n{body}", "dataset"))


def _configs(rows: LabelledRows, there: Any) -> list[dict[str, Any]]:
    """Where the splits are: that of the rows, and the others that the card there names."""
    known = [config for config in (there if isinstance(there, list) else ()) if isinstance(config, dict)]
    default = next((config for config in known if config.get("config_name", "default") == "default"), {})
    splits = default.get("data_files")
    others = [
        split
        for split in (splits if isinstance(splits, list) else ())
        if isinstance(split, dict) and split.get("split") not in (None, rows.split)
    ]
    mine = {"config_name": "default", "data_files": [{"split": rows.split, "path": rows.shards}, *others]}
    return [mine, *(config for config in known if config is not default)]


def _columns(rows: LabelledRows) -> list[tuple[str, str]]:
    """Every column and what it means."""
    label = rows.label_column
    given = {label: "the label after cleaning", f"given_{label}": "the label before any cleaning"}
    known = given | _COLUMNS_CLEANED if rows.cleaned else _COLUMNS_LABELLED
    each = "; one per label" if rows.cleaned and rows.multi else ""
    told = {name: f"{known[name]}{each if name in ('label_weight', 'label_source') else ''}" for name in known}
    return [(name, told.get(name, "as in the data that were read")) for name in rows.dataset.column_names]


def _provenance(rows: LabelledRows) -> list[tuple[str, str]]:
    """What was done, as pairs of a heading and a line of plain text."""
    found = [(words, _line(value)) for key, words in _TOLD.items() if (value := rows.told.get(key)) not in (None, "")]
    noun = "Labels of rows (cells)" if rows.multi and rows.cleaned else "Rows"
    sources = (f"{noun}, by where the label comes from", _line(rows.sources()))
    interval = _interval(rows.told)
    return [sources, *([("Of labelled rows as confident, right in % (95 %)", interval)] if interval else []), *found]


def _interval(told: Mapping[str, Any]) -> str:
    """Precision of the labelled rows that are at least as confident, labels hidden; "" where it is not known."""
    curve, threshold = told.get("precision_coverage"), told.get("threshold")
    try:
        ends = zip(curve["cut"], curve["low"], curve["high"], strict=False)  # type: ignore[index]
        low, high = [(low, high) for cut, low, high in ends if cut >= threshold][-1]  # by falling cut
        return f"{100 * low:.0f} to {100 * high:.0f}"
    except (TypeError, KeyError, IndexError):
        return ""


def _line(value: Any) -> str:
    """A value on one line; of a file the name, as nobody else has the folders."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_line(part)}" for key, part in value.items() if part is not None)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = ", ".join(map(_line, value)) if isinstance(value, list) else str(value)
    return text.split("/")[-1] if text.endswith(DATA_SUFFIXES) else text


def _command(command: str) -> str:
    """A command line on one line, of files and folders only the names."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    before = ["", *words]
    told = (_word(word, word_before) for word, word_before in zip(words, before, strict=False))
    return " ".join(shlex.join(told).split())


def _word(word: str, before: str) -> str:
    """A word of a command, of a path the last part; what looks like a Hub id is a path where the command writes to."""
    if word.startswith("-") and "=" not in word:
        return word
    option, sign, value = word.partition("=") if word.startswith("-") else (before, "", word)
    is_path = "/" in value.strip(" /") and (option == "--out" or not is_elsewhere(value, data=False))
    told = last_part(value) if is_path and "://" not in value else _line(value)
    return f"{option}{sign}{told}" if sign else told
