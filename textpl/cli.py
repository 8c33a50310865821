"""The command line: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textpl.annotate_cli import annotate
from textpl.clean_cli import clean
from textpl.encoders_cli import encoders
from textpl.hub_cli import push_made
from textpl.label_options import Delimiter, Empty, Groups, MergeVariants, UnlabeledValue, label_format
from textpl.recipes_cli import recipes_app
from textpl.run_cli import run
from textpl.score_cli import score
from textpl.select_cli import select
from textpl.terminal import (
    TellingGroup,
    errors_told,
    interruption_told,
    log_to_terminal,
    say,
    say_table,
    typed_command,
)

if TYPE_CHECKING:
    from textpl.pseudo_labels import PseudoLabels

app = typer.Typer(
    help="Better text classifiers from text nobody has labeled.",
    cls=TellingGroup,
    no_args_is_help=True,
    add_completion=False,
)
app.add_typer(recipes_app, name="recipes")
app.command("push")(push_made)
app.command()(run)
app.command()(clean)
app.command()(score)
app.command()(select)
app.command()(annotate)
app.command()(encoders)


def _version(wanted: bool) -> None:
    if wanted:
        from textpl import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """Better text classifiers from text nobody has labeled."""


@app.command()
def label(
    context: typer.Context,
    labeled: Annotated[str, typer.Argument(help="Labelled texts: folder, csv, jsonl or parquet file, or Hub id.")],
    unlabeled: Annotated[
        str | None, typer.Argument(help="Texts to label; default: the unlabeled split of the labelled source.")
    ] = None,
    out: Annotated[Path, typer.Option(help="File to write: .parquet, .jsonl or .csv.")] = Path("labeled.parquet"),
    method: Annotated[str, typer.Option(help="auto, or the name of a method.")] = "auto",
    encoder: Annotated[
        str | None, typer.Option(help="sentence-transformers id or folder, or lsa. Default: all-MiniLM-L6-v2.")
    ] = None,
    k: Annotated[int | None, typer.Option(help="Neighbours; default: the method's.")] = None,
    class_prior: Annotated[str, typer.Option(help="none, gold, uniform, or shares such as 0.7,0.3.")] = "none",
    hubness: Annotated[str | None, typer.Option(help="mutual or csls: against texts that are near everything.")] = None,
    confidence: Annotated[float | None, typer.Option(help="Keep rows of at least this confidence.")] = None,
    precision: Annotated[float | None, typer.Option(help="Keep the most rows of this expected precision.")] = None,
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
    """Label texts from a few labeled ones by their embeddings; nothing is trained."""
    from textpl.atomic_files import write_text
    from textpl.label_files import label_files
    from textpl.reports.label_page import label_page

    log_to_terminal()
    command, page = typed_command(context), out.with_name(out.name + ".report.html")
    files = {"labels": out, "report": page}

    def before(found: PseudoLabels) -> None:
        files.update(_draw_precision(found, out))
        write_text(page, label_page(found, title=f"Labels for {unlabeled or labeled}", command=command))

    again = lambda: "no labels were written; texts that were encoded are cached. Give the same command again."  # noqa: E731
    with errors_told(), interruption_told(again):
        found = label_files(
            labeled,
            unlabeled,
            out,
            command=command,
            say=say,
            before=before,
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
    say("\n".join(f"  {what + ':':9s}{file}" for what, file in files.items()))


def _prior(text: str) -> str | list[float]:
    if text in ("none", "gold", "uniform"):
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"--class-prior {text}: none, gold, uniform, or a share per label such as 0.7,0.3.") from error


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
    say_table("On the labelled rows, each with its own label hidden", headings, rows)


def _draw_precision(found: PseudoLabels, out: Path) -> dict[str, Path]:
    """The picture beside the labels; none where no labelled row could be held out."""
    if not len(found.coverage.cut):
        return {}
    from textpl.reports.figures import precision_figure, save_picture

    picture = out.with_name(out.name + ".precision.png")
    save_picture(precision_figure(found), picture)
    return {"picture": picture}


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` positions, evenly spread, the last one among them."""
    return sorted({round(i * (count - 1) / max(most - 1, 1)) for i in range(most)}) if count else []
