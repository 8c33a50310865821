"""The command line: parse, call one function, print."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textpl.encoders_cli import encoders
from textpl.hub_cli import push_made, tell_run
from textpl.label_options import Delimiter, Empty, Groups, MergeVariants, UnlabeledValue, label_format
from textpl.recipes_cli import recipes_app
from textpl.score_cli import score
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
    from textpl.comparison import Comparison
    from textpl.pseudo_labels import PseudoLabels
    from textpl.recipes.schema import Recipe

app = typer.Typer(
    help="Better text classifiers from text nobody has labeled.",
    cls=TellingGroup,
    no_args_is_help=True,
    add_completion=False,
)
app.add_typer(recipes_app, name="recipes")
app.command("push")(push_made)
app.command()(score)
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
def run(
    context: typer.Context,
    recipe: Annotated[
        str, typer.Argument(help="A recipe file, a folder with recipe.yaml, a bundled name, or hf://owner/name.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as method.threshold=0.9."),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds instead of the recipe's, such as 0,1,2.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder or file to read instead of the recipe's data.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; default: runs/NAME, or runs/NAME-2, ... if it exists.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted run in --out (default: the newest in runs).")
    ] = False,
    placebo: Annotated[
        bool, typer.Option("--placebo", help="Also train the method with the labeled texts for a pool.")
    ] = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="First choose among the recipe's `tune` settings, on other than test rows.")
    ] = False,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model: read it before.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be downloaded, written and trained, and stop.")
    ] = False,
) -> None:
    """Train with and without what the recipe tries (unlabelled text, cleaned labels, a loss): did it help?"""
    from textpl.recipes.parsing import load_recipe
    from textpl.recipes.running.run import run_recipe

    log_to_terminal()
    if dry_run:
        with errors_told():
            folder_for = lambda name: out or _next_folder(Path("runs"), name, resume)  # noqa: E731
            tell_run(recipe, overrides or [], _seeds(seeds), data, folder_for)
            if tune:
                from textpl.recipes.running.tuning import trainings

                more = trainings(load_recipe(recipe, overrides=overrides or []).recipe, _seeds(seeds))
                say(f"Not counted: {more} trainings by which --tune chooses first.")
        return
    with errors_told():
        loaded = load_recipe(recipe, overrides=overrides or [], trust_remote_code=trust_remote_code)
        folder = out or _next_folder(Path("runs"), loaded.name, resume)
        told = functools.partial(say, bold=True)
        with interruption_told(functools.partial(_how_to_go_on, folder)):
            tuning = None
            if tune:
                from textpl.recipes.running.tuning import choose

                load = lambda more: load_recipe(  # noqa: E731
                    recipe, overrides=[*(overrides or []), *more], trust_remote_code=trust_remote_code
                )
                tuning = choose(load, out=folder, data=data, seeds=_seeds(seeds), resume=resume, say=told)
                loaded = tuning.method
            comparison = run_recipe(
                loaded,
                out=folder,
                data=data,
                seeds=_seeds(seeds),
                resume=resume,
                placebo=placebo,
                tuning=tuning,
                command=typed_command(context, leave_out=("resume",)),
                say=told,
            )
    _print(comparison, loaded.recipe, folder)


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


@app.command()
def clean(
    context: typer.Context,
    data: Annotated[str, typer.Argument(help="Labelled texts: folder, csv, jsonl or parquet file, or Hub id.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    text: Annotated[str, typer.Option(help="Name of the text column.")] = "text",
    labels: Annotated[
        str,
        typer.Option(help="Label column (one label, a list, or several in one string), or columns of 0 and 1: a,b,c."),
    ] = "label",
    delimiter: Delimiter = None,
    unlabeled_value: UnlabeledValue = None,
    empty: Empty = None,
    merge_variants: MergeVariants = None,
    encoder: Annotated[
        str | None, typer.Option(help="sentence-transformers id or folder, lsa, or none. Default: all-MiniLM-L6-v2.")
    ] = None,
    pred_probs: Annotated[
        Path | None, typer.Option(help="Out-of-sample probabilities: .npy, .npz, .csv or .parquet. Default: computed.")
    ] = None,
    label_names: Annotated[
        str | None,
        typer.Option(help="The labels in the order of the columns of --pred-probs, if these have no headings: a,b,c."),
    ] = None,
    method: Annotated[str | None, typer.Option(help="auto, or confident (as cleanlab).")] = None,
    noise: Annotated[str | None, typer.Option(help="Several labels per row: auto, missing, spurious or swap.")] = None,
    groups: Groups = None,
    test: Annotated[str | None, typer.Option(help="Test texts that must not be among these.")] = None,
    relabel: Annotated[float | None, typer.Option(help="Correct what is wrong with at least this probability.")] = None,
    drop: Annotated[float | None, typer.Option(help="Give it weight 0.")] = None,
    downweight: Annotated[float | None, typer.Option(help="Give it weight 1 - probability.")] = None,
    budget: Annotated[int, typer.Option(help="Cells in the review queue.")] = 500,
    review: Annotated[
        list[Path] | None,
        typer.Option(
            help="A review queue with decisions: csv, jsonl, or from Argilla or Label Studio. Again for each person."
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of a folder or of Hub data. Default: train.")] = None,
    allow_test: Annotated[bool, typer.Option("--allow-test", help="Clean held-out data.")] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of the folds. Default: 0.")] = None,
) -> None:
    """Find labels that are wrong or missing; write a cleaned corpus, a report and a queue for review."""
    from textpl.atomic_files import write_text
    from textpl.label_issues.files import clean_files
    from textpl.reports.cleaning_page import cleaning_page

    log_to_terminal()
    settings = {"encoder": encoder, "method": method, "noise": noise, "groups": groups, "seed": seed}
    again = lambda: f"what is finished is kept in {out}. Give the same command again."  # noqa: E731
    with errors_told(), interruption_told(again):
        found = clean_files(
            data,
            out,
            text=text,
            labels=labels,
            label_names=None if label_names is None else [name.strip() for name in label_names.split(",")],
            label_format=label_format(delimiter, unlabeled_value, empty, merge_variants),
            split=split,
            allow_test=allow_test,
            test=test,
            pred_probs=pred_probs,
            relabel=relabel,
            drop=drop,
            downweight=downweight,
            budget=budget,
            review=review or (),
            say=say,
            **settings,
        )
        page = out / "report.html"
        told = {"title": f"Labels of {data}", "command": typed_command(context)}
        write_text(page, cleaning_page(found.report, found.plan, found.rates, **told))
    say(found.summary())
    for what, file in {"report": page, **found.files}.items():
        say(f"  {what + ':':17s}{file}")
    if not review:
        answer = "yes: right for the text; no: not" if found.report.multi else "the right label"
        how = f"Fill the column `decision` of the cells to review ({answer}) and run this again with --review FILE."
        say(f"{how} Several people: a copy each, --review ANNA.csv --review BEN.csv.")


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


def _print(comparison: Comparison, recipe: Recipe, folder: Path) -> None:
    from textpl.recipes.results import Results

    numbers = comparison.to_dict()
    rows = []
    several = len(comparison.of_kind("labels only")) > 1
    measured = [(_arm_name(recipe, arm, several), arm, arm["cost"]) for arm in numbers["arms"]]
    for name, values, cost in (*measured, (comparison.name, numbers["method"], numbers["cost"]["method"])):
        std = "" if values["std"] is None else f"{values['std']:.1f}"
        trained = (str(len(values["seeds"])), f"{cost['steps']:.0f}", f"{cost['seconds']:.0f}")
        rows.append((name, f"{values['mean']:.1f}", std, *trained))
    headings = ("", "mean", "std", "seeds", "steps", "seconds per training")
    say_table(f"{comparison.metric.replace('_', ' ')} on the test rows, %", headings, rows)
    say(f"{recipe.question}  {comparison}", bold=True)
    for line in comparison.told_arms():
        say(f"{line}.")
    if (seen := comparison.seen_test_texts) is not None and not seen.count:
        say(f"{seen}.")
    written = {
        "report": "report.html",
        "picture": "comparison.png",
        "all numbers": "results.json",
        "classifier": "model",
    }
    for what, file in written.items():
        say(f"  {what + ':':12s} {folder / file}")
    results = Results.model_validate(numbers)
    if results.doubted:
        say(f"Note: {results.model_note()}.")


def _arm_name(recipe: Recipe, arm: dict[str, Any], several: bool) -> str:
    if arm["kind"] != "labels only":
        return arm["name"]
    return f"{recipe.baseline}, {arm['name']}" if several else recipe.baseline


def _how_to_go_on(folder: Path) -> str:
    from textpl.recipes.running.tuning import scores_file

    if (kept := scores_file(folder)).exists():
        return f"scores are kept in {kept}. Go on with the same command, --out {folder} and --resume."
    if not folder.exists():
        return "nothing was trained or written yet."
    return f"finished trainings are kept in {folder}. Go on with the same command and --resume."


def _next_folder(parent: Path, name: str, resume: bool) -> Path:
    """`parent/name`, or the first of `name-2`, `name-3`, ... that is free; the newest of them to resume."""
    folder, newest, number = parent / name, parent / name, 1
    while folder.exists():
        number, newest = number + 1, folder
        folder = parent / f"{name}-{number}"
    return newest if resume else folder


def _seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"--seeds {text}: whole numbers separated by commas are needed, such as 0,1,2.") from error
