"""The command `textpl label`: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textpl.label_options import Delimiter, Empty, Groups, MergeVariants, UnlabeledValue, label_format
from textpl.terminal import errors_told, interruption_told, log_to_terminal, say, say_table, typed_command

if TYPE_CHECKING:
    from textpl.pseudo_labels import PseudoLabels


def label(
    context: typer.Context,
    labeled: Annotated[
        str | None,
        typer.Argument(help="Labeled texts: folder, csv, jsonl or parquet file, or Hub id. None: see --label-names."),
    ] = None,
    unlabeled: Annotated[
        str | None, typer.Argument(help="Texts to label; default: the unlabeled split of the labeled source.")
    ] = None,
    pool: Annotated[str | None, typer.Option("--unlabeled", help="The same, where there are no labeled texts.")] = None,
    out: Annotated[Path, typer.Option(help="File to write: .parquet, .jsonl or .csv.")] = Path("labeled.parquet"),
    method: Annotated[str, typer.Option(help="auto, or the name of a method.")] = "auto",
    encoder: Annotated[
        str | None, typer.Option(help="sentence-transformers id or folder, or lsa. Default: all-MiniLM-L6-v2.")
    ] = None,
    label_names: Annotated[
        str | None,
        typer.Option(help="What the labels are called, as a signal: a,b,c or a file with a name in each line."),
    ] = None,
    label_descriptions: Annotated[
        Path | None, typer.Option(help="What the labels mean: .yaml or .json, a text or several for every name.")
    ] = None,
    multi_label: Annotated[
        bool, typer.Option("--multi-label", help="Without labeled texts: rows may have several labels.")
    ] = False,
    annotations: Annotated[
        str | None, typer.Option(help="Columns with what others say of the texts, such as a language model: a,b.")
    ] = None,
    k: Annotated[int | None, typer.Option(help="Neighbors; default: the method's.")] = None,
    class_prior: Annotated[str, typer.Option(help="none, gold, uniform, or shares such as 0.7,0.3.")] = "none",
    hubness: Annotated[str | None, typer.Option(help="mutual or csls: against texts that are near everything.")] = None,
    confidence: Annotated[float | None, typer.Option(help="Keep rows of at least this confidence.")] = None,
    precision: Annotated[float | None, typer.Option(help="Keep the most rows of this expected precision.")] = None,
    save_classifier: Annotated[
        Path | None, typer.Option(help="Folder to keep a classifier of texts to come in, for textpl classify.")
    ] = None,
    keep_all: Annotated[bool, typer.Option("--all", help="Write the rows without a label too, with a reason.")] = False,
    text: Annotated[str, typer.Option(help="Name of the text column.")] = "text",
    label_column: Annotated[
        str, typer.Option("--label", help="Name of the label column, or of several of 0 and 1: a,b,c.")
    ] = "label",
    delimiter: Delimiter = None,
    unlabeled_value: UnlabeledValue = None,
    empty: Empty = None,
    merge_variants: MergeVariants = None,
    groups: Groups = None,
    seed: Annotated[int, typer.Option(help="Seed of the hold-out folds.")] = 0,
) -> None:
    """Label texts from a few labeled ones, or what the labels are called, by their embeddings; nothing is trained."""
    from textpl.embedding_classifier import EmbeddingClassifier, single_text_encoder
    from textpl.label_files import label_files, read_descriptions_file, read_names

    log_to_terminal()
    command = typed_command(context)
    files = {"labels": out, "report": out.with_name(out.name + ".report.html")}

    def before(found: PseudoLabels) -> None:
        _write_report(found, files, source or labeled or "", command)
        if save_classifier is not None:
            EmbeddingClassifier.fit(found).save(save_classifier)
            files["classifier"] = save_classifier

    again = lambda: "no labels were written; texts that were encoded are cached. Give the same command again."  # noqa: E731
    with errors_told(), interruption_told(again):
        if pool is not None and unlabeled is not None:
            raise ValueError(f"The texts to label are named twice: {unlabeled} and --unlabeled {pool}.")
        if save_classifier is not None and encoder is not None:
            single_text_encoder(encoder, progress=False)  # refused before the work, not after it
        source = unlabeled or pool
        found = label_files(
            labeled,
            source,
            out,
            command=command,
            say=say,
            before=before,
            label_names=None if label_names is None else read_names(label_names),
            label_descriptions=None if label_descriptions is None else read_descriptions_file(label_descriptions),
            multi_label=multi_label,
            annotations=None if annotations is None else [name.strip() for name in annotations.split(",")],
            confidence=confidence,
            precision=precision,
            keep_all=keep_all,
            method=method,
            k=k,
            class_prior=_prior(class_prior),
            hubness=hubness,
            groups=groups,
            text_column=text,
            label_column=label_column,
            label_format=label_format(delimiter, unlabeled_value, empty, merge_variants),
            seed=seed,
            **({} if encoder is None else {"encoder": encoder}),
        )
    say(str(found))
    _print_coverage(found)
    say("\n".join(found.report["neighborhoods"]))
    say("\n".join(f"  {what + ':':12s}{file}" for what, file in files.items()))


def _prior(text: str) -> str | list[float]:
    if text in ("none", "gold", "uniform"):
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"--class-prior {text}: none, gold, uniform, or a share per label such as 0.7,0.3.") from error


def _write_report(found: PseudoLabels, files: dict[str, Path], source: str, command: str) -> None:
    """The page, and the picture beside the labels; no picture where no labeled row could be held out."""
    from textpl.atomic_files import write_text
    from textpl.reports.figures import precision_figure, save_picture
    from textpl.reports.label_page import label_page

    if len(found.coverage.cut):
        out = files["labels"]
        files["picture"] = out.with_name(out.name + ".precision.png")
        save_picture(precision_figure(found), files["picture"])
    write_text(files["report"], label_page(found, title=f"Labels for {source}", command=command))


def _print_coverage(found: PseudoLabels) -> None:
    curve = found.coverage
    if not len(curve.cut):
        return
    rows = [
        (
            f"{curve.cut[i]:.2f}",
            f"{100 * curve.coverage[i]:.0f} %",
            f"{100 * curve.precision[i]:.0f} %",
            f"{100 * curve.low[i]:.0f} to {100 * curve.high[i]:.0f} %",
        )
        for i in _spread(len(curve.cut), 6)
    ]
    headings = ("confidence at least", "share kept", "precision", "95 %")
    say_table("On the labeled rows, each with its own label hidden", headings, rows)


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` positions, evenly spread, the last one among them."""
    return sorted({round(i * (count - 1) / max(most - 1, 1)) for i in range(most)}) if count else []
