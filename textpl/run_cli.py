"""The command `textpl run`: parse, call one function, print."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textpl.terminal import errors_told, interruption_told, log_to_terminal, say, say_table, typed_command

if TYPE_CHECKING:
    from textpl.comparison import Comparison
    from textpl.recipes.parsing import LoadedRecipe
    from textpl.recipes.schema import Recipe

Source = Annotated[
    str, typer.Argument(help="A recipe file, a folder with recipe.yaml, a bundled name, or hf://owner/name.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as method.threshold=0.9."),
]
Seeds = Annotated[str | None, typer.Option(help="Seeds instead of the recipe's, such as 0,1,2.")]
Data = Annotated[Path | None, typer.Option(help="Folder or file to read instead of the recipe's data.")]
Out = Annotated[
    Path | None, typer.Option(help="Folder to write; default: runs/NAME, or runs/NAME-2, ... if it exists.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the interrupted run in --out (default: the newest in runs).")
]
Placebo = Annotated[bool, typer.Option("--placebo", help="Also train the method with the labeled texts for a pool.")]
Tune = Annotated[
    bool, typer.Option("--tune", help="First choose among the recipe's `tune` settings, on other than test rows.")
]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Run code that comes with the model: read it before.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would be read, written and trained, and stop.")]


def run(
    context: typer.Context,
    recipe: Source,
    overrides: Overrides = None,
    seeds: Seeds = None,
    data: Data = None,
    out: Out = None,
    resume: Resume = False,
    placebo: Placebo = False,
    tune: Tune = False,
    trust_remote_code: Trust = False,
    dry_run: DryRun = False,
) -> None:
    """Train with and without what the recipe tries (unlabelled text, cleaned labels, a loss): did it help?"""
    from textpl.recipes.parsing import load_recipe
    from textpl.recipes.running.run import check_placebo, run_recipe
    from textpl.recipes.running.tuning import choose

    log_to_terminal()
    with errors_told():
        given = _seeds(seeds)
        load = lambda more: load_recipe(  # noqa: E731
            recipe, overrides=[*(overrides or []), *more], trust_remote_code=trust_remote_code
        )
        loaded, told = load([]), functools.partial(say, bold=True)
        check_placebo(loaded.recipe, placebo)  # before a search that may take hours
        folder = out or _next_folder(Path("runs"), loaded.name, resume)
        if dry_run:
            return _tell(loaded, folder, data, given, placebo, tune)
        wanted: dict[str, Any] = {"out": folder, "data": data, "seeds": given, "resume": resume, "say": told}
        with interruption_told(functools.partial(_how_to_go_on, folder)):
            tuning = choose(load, **wanted) if tune else None
            loaded = loaded if tuning is None else tuning.method
            command = typed_command(context, leave_out=("resume",))
            comparison = run_recipe(loaded, placebo=placebo, tuning=tuning, command=command, **wanted)
    _print(comparison, loaded.recipe, folder)


def _tell(
    loaded: LoadedRecipe, out: Path, data: Path | None, seeds: list[int] | None, placebo: bool, tune: bool
) -> None:
    from textpl.recipes.running.dry_run import dry_run
    from textpl.recipes.running.tuning import trainings

    say("\n".join(dry_run(loaded, out=out, data=data, seeds=seeds, placebo=placebo)))
    if tune:
        say(f"Not counted: {trainings(loaded.recipe, seeds)} trainings by which --tune chooses first.")


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
