"""The commands `textpl recipes list | show | validate | diff | new | schema`: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textpl.atomic_files import write_text
from textpl.label_options import Delimiter, Empty, Groups, MergeVariants, UnlabeledValue, label_format
from textpl.terminal import errors_told, say, told_error

if TYPE_CHECKING:
    from textpl.recipes.parsing import LoadedRecipe
    from textpl.recipes.results import Results, Side
    from textpl.recipes.schema import Recipe

recipes_app = typer.Typer(help="Find, check and share recipes.", no_args_is_help=True)
Source = Annotated[
    str, typer.Argument(help="A recipe file, a folder with recipe.yaml, a bundled name, or hf://owner/name[@revision].")
]


@recipes_app.command("list")
def list_recipes(
    folder: Annotated[Path | None, typer.Argument(help="Folder of recipes; default: those that come along.")] = None,
) -> None:
    """List the recipes that come with textpl, or those in a folder, one line each."""
    with errors_told():
        from textpl.recipes.parsing import FILE_NAME, RecipeError, bundled_recipes, load_recipe

        if folder is None:
            found = bundled_recipes()
        elif folder.is_dir():
            files = [*folder.glob("*.yaml"), *folder.glob(f"*/{FILE_NAME}")]
            found = {(p.parent.name if p.name == FILE_NAME else p.stem): p for p in sorted(files)}
        else:
            raise RecipeError(f"There is no folder {folder}.")
        for name, file in found.items():
            try:
                line = load_recipe(file).recipe.description or "(no description)"
            except RecipeError as error:
                line = f"not valid: {str(error).splitlines()[0]}"
            say(f"{name:24s} {line}")
        if not found:
            say(f"No recipes in {folder}.")


@recipes_app.command()
def show(source: Source) -> None:
    """Tell what a recipe does, what it expects and what it measured, without running it."""
    with errors_told():
        from textpl.recipes.agreement import judge
        from textpl.recipes.describing import describe, told
        from textpl.recipes.parsing import to_yaml
        from textpl.recipes.run_header import load_to_show

        loaded = load_to_show(source)
        recipe, (results, refused) = loaded.recipe, _results(loaded)
    say(f"{loaded.name}{': ' if recipe.description else ''}{recipe.description}\n")
    lines = describe(recipe, [recipe.data.source] if (loaded.folder / recipe.data.source).exists() else [])
    if results is None:
        lines.append(("Results", refused or "none beside it"))
    else:
        lines += [("Results", _measured(recipe, results)), ("", told(results))]
        agreement = judge(recipe, results)
        lines += [] if agreement is None else [("", agreement.sentence)]
    for key, value in lines:
        say(f"  {key + ':' if key else '':16s}{value}")
    say("\n" + to_yaml(recipe))


@recipes_app.command()
def validate(
    sources: Annotated[list[str], typer.Argument(help="Recipe files, folders, bundled names or hf:// addresses.")],
) -> None:
    """Check recipes, and tell every line that is wrong."""
    from textpl.recipes.run_header import load_to_show

    wrong = False
    for source in sources:
        try:
            load_to_show(source)
        except Exception as error:  # as in errors_told: the other sources are checked too
            wrong = True
            typer.echo(f"{source}: not valid\n{told_error(error)}", err=True)
        else:
            say(f"{source}: valid")
    if wrong:
        raise typer.Exit(1)


@recipes_app.command()
def diff(left: Source, right: Source) -> None:
    """Tell what differs between two recipes, line by line, and what each measured."""
    with errors_told():
        from difflib import unified_diff

        from textpl.recipes.describing import told, told_expected
        from textpl.recipes.parsing import to_yaml
        from textpl.recipes.run_header import load_to_show

        both = [load_to_show(left), load_to_show(right)]
        texts = [to_yaml(loaded.recipe).splitlines() for loaded in both]
        changed = list(unified_diff(texts[0], texts[1], left, right, n=1, lineterm=""))
        results = [_results(loaded) for loaded in both]
    say("\n".join(changed) if changed else "The recipes are the same.")
    for letter, loaded, (measured, refused) in zip("AB", both, results, strict=True):
        if refused:
            say(f"\n{letter}: {refused}")
        if measured is not None:
            say(f"\n{letter} measured: {_measured(loaded.recipe, measured)}\n{told(measured)}")
        elif loaded.recipe.expected is not None:
            say(f"\n{letter} expects: {told_expected(loaded.recipe)}")


@recipes_app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="Folder to write recipe.yaml into; it may exist.")],
    data: Annotated[
        str | None, typer.Option(help="File, folder, bundled:NAME or Hub id. Files are copied, as jsonl.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Name of the text column. Default: found.")] = None,
    label: Annotated[str | None, typer.Option(help="Name of the label column. Default: found.")] = None,
    task: Annotated[str | None, typer.Option(help="single or multi label. Default: found.")] = None,
    method: Annotated[str | None, typer.Option(help="Such as softmatch. Default: that of recipes.")] = None,
    stages: Annotated[
        str | None, typer.Option(help="Such as clean,train. Default: label,train; with --method: train.")
    ] = None,
    delimiter: Delimiter = None,
    unlabeled_value: UnlabeledValue = None,
    empty: Empty = None,
    merge_variants: MergeVariants = None,
    groups: Groups = None,
) -> None:
    """Begin a recipe: a short file with comments that is valid and fits the data."""
    with errors_told():
        from textpl.recipes.new_recipe import new_recipe

        parts = stages.split(",") if stages else None
        lines = new_recipe(
            folder,
            data=data,
            text=text,
            label=label,
            task=task,
            method=method,
            stages=parts,
            groups=groups,
            label_format=label_format(delimiter, unlabeled_value, empty, merge_variants),
        )
    say("\n".join(lines))
    say(f"To run it:  textpl run {folder}")


@recipes_app.command()
def schema(
    out: Annotated[Path | None, typer.Option(help="File to write. Default: the terminal.")] = None,
) -> None:
    """Give the JSON Schema of recipes, with which editors complete and check them."""
    from textpl.recipes.json_schema import schema_text

    if out is None:
        return say(schema_text().rstrip())
    with errors_told():
        write_text(out, schema_text())
    say(str(out))


def _results(loaded: LoadedRecipe) -> tuple[Results | None, str]:
    """Those beside a recipe of which it is the recipe.yaml, if there are any; or why they are not its own."""
    from textpl.recipes.measured import check_same
    from textpl.recipes.parsing import FILE_NAME, RecipeError
    from textpl.recipes.results import read_results

    file = loaded.folder / FILE_NAME
    if not file.is_file() or file.read_text(encoding="utf-8-sig") != loaded.text:
        return None, ""
    try:
        results = read_results(loaded.folder)
    except RecipeError as error:
        raise RecipeError(f"{loaded.folder / 'results.json'}: {error} Remove it, or run the recipe again.") from error
    try:
        if results is not None:
            check_same(loaded.recipe, results)
    except RecipeError as error:
        return None, str(error)
    return results, ""


def _measured(recipe: Recipe, results: Results) -> str:
    sides = f"{recipe.baseline} {_spread(results.baseline)}, {recipe.tried} {_spread(results.method)}"
    return f"{results.metric.replace('_', ' ')} in %: {sides}; {len(results.method.seeds)} seeds"


def _spread(side: Side) -> str:
    return f"{side.mean:.1f}" + ("" if side.std is None else f" ± {side.std:.1f}")
