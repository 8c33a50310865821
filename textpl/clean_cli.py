"""The command `textpl clean`: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textpl.label_options import Delimiter, Empty, Groups, MergeVariants, UnlabeledValue, label_format, split_names
from textpl.terminal import errors_told, interruption_told, log_to_terminal, say, typed_command

if TYPE_CHECKING:
    from textpl.label_issues.files import Cleaned

Source = Annotated[str, typer.Argument(help="Labelled texts: folder, csv, jsonl or parquet file, or Hub id.")]
Out = Annotated[Path, typer.Option(help="Folder to write.")]
Text = Annotated[str, typer.Option(help="Name of the text column.")]
Labels = Annotated[
    str,
    typer.Option(help="Label column (one label, a list, or several in one string), or columns of 0 and 1: a,b,c."),
]
Encoder = Annotated[
    str | None, typer.Option(help="sentence-transformers id or folder, lsa, or none. Default: all-MiniLM-L6-v2.")
]
Probabilities = Annotated[
    Path | None, typer.Option(help="Out-of-sample probabilities: .npy, .npz, .csv or .parquet. Default: computed.")
]
LabelNames = Annotated[
    str | None,
    typer.Option(help="The labels in the order of the columns of --pred-probs, if these have no headings: a,b,c."),
]
Method = Annotated[str | None, typer.Option(help="auto, or confident (as cleanlab).")]
Noise = Annotated[str | None, typer.Option(help="Several labels per row: auto, missing, spurious or swap.")]
Annotations = Annotated[
    list[str] | None,
    typer.Option(
        help="Column with answers of a model, a rule or another tool, such as of textpl annotate. Again for more."
    ),
]
Test = Annotated[str | None, typer.Option(help="Test texts that must not be among these.")]
Relabel = Annotated[float | None, typer.Option(help="Correct what is wrong with at least this probability.")]
Drop = Annotated[float | None, typer.Option(help="Give it weight 0.")]
Downweight = Annotated[float | None, typer.Option(help="Give it weight 1 - probability.")]
Budget = Annotated[int, typer.Option(help="Cells in the review queue.")]
Review = Annotated[
    list[Path] | None,
    typer.Option(
        help="A review queue with decisions: csv, jsonl, or from Argilla or Label Studio. Again for each person."
    ),
]
PartName = Annotated[str | None, typer.Option("--split", help="Split of a folder or of Hub data. Default: train.")]
AllowTest = Annotated[bool, typer.Option("--allow-test", help="Clean held-out data.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the folds. Default: 0.")]


def clean(
    context: typer.Context,
    data: Source,
    out: Out,
    text: Text = "text",
    labels: Labels = "label",
    delimiter: Delimiter = None,
    unlabeled_value: UnlabeledValue = None,
    empty: Empty = None,
    merge_variants: MergeVariants = None,
    encoder: Encoder = None,
    pred_probs: Probabilities = None,
    label_names: LabelNames = None,
    method: Method = None,
    noise: Noise = None,
    annotations: Annotations = None,
    groups: Groups = None,
    test: Test = None,
    relabel: Relabel = None,
    drop: Drop = None,
    downweight: Downweight = None,
    budget: Budget = 500,
    review: Review = None,
    split: PartName = None,
    allow_test: AllowTest = False,
    seed: Seed = None,
) -> None:
    """Find labels that are wrong or missing; write a cleaned corpus, a report and a queue for review."""
    from textpl.label_issues.files import clean_files

    log_to_terminal()
    again = lambda: f"what is finished is kept in {out}. Give the same command again."  # noqa: E731
    with errors_told(), interruption_told(again):
        found = clean_files(
            data, out, text=text, labels=labels,
            label_names=split_names(label_names),
            label_format=label_format(delimiter, unlabeled_value, empty, merge_variants),
            encoder=encoder, pred_probs=pred_probs, method=method, noise=noise, groups=groups, test=test,
            annotations=annotations or None,
            relabel=relabel, drop=drop, downweight=downweight, budget=budget, review=review or (),
            split=split, allow_test=allow_test, seed=seed, command=typed_command(context), say=say,
        )  # fmt: skip
        page = _write_page(found, out, f"Labels of {data}", typed_command(context))
    say(found.summary())
    for what, file in {"report": page, **found.files}.items():
        say(f"  {what + ':':17s}{file}")
    if not review:
        answer = "yes: right for the text; no: not" if found.report.multi else "the right label"
        how = f"Fill the column `decision` of the cells to review ({answer}) and run this again with --review FILE."
        say(f"{how} Several people: a copy each, --review ANNA.csv --review BEN.csv.")


def _write_page(found: Cleaned, out: Path, title: str, command: str) -> Path:
    from textpl.atomic_files import write_text
    from textpl.reports.cleaning_page import cleaning_page

    page = out / "report.html"
    write_text(page, cleaning_page(found.report, found.plan, found.rates, title=title, command=command))
    return page
