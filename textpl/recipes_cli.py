"""The commands `textpl recipes ...`: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textpl.terminal import errors_told, plain, say

if TYPE_CHECKING:
    from textpl.recipes.parsing import LoadedRecipe
    from textpl.recipes.results import Side

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
    """Tell what a recipe does and what it measured, without running it."""
    with errors_told():
        from textpl.recipes.cards import check_same
        from textpl.recipes.describing import describe, told
        from textpl.recipes.parsing import FILE_NAME, to_yaml
        from textpl.recipes.results import read_results

        loaded = _load(source)
        recipe, file = loaded.recipe, loaded.folder / FILE_NAME
        is_file = file.is_file() and file.read_text(encoding="utf-8-sig") == loaded.text
        results = read_results(loaded.folder) if is_file else None
        if results is not None:
            check_same(recipe, results)
    say(f"{loaded.name}{': ' if recipe.description else ''}{recipe.description}\n")
    lines = describe(recipe)
    if results is None:
        lines.append(("Results", "none beside it"))
    else:
        sides = f"{recipe.baseline} {_spread(results.baseline)}, {recipe.tried} {_spread(results.method)}"
        lines.append(
            ("Results", f"{results.metric.replace('_', ' ')} in %: {sides}; {len(results.method.seeds)} seeds")
        )
        lines.append(("", told(results)))
    for key, value in lines:
        say(f"  {key + ':' if key else '':16s}{value}")
    say("\n" + to_yaml(recipe))


@recipes_app.command()
def validate(
    sources: Annotated[list[str], typer.Argument(help="Recipe files, folders, bundled names or hf:// addresses.")],
) -> None:
    """Check recipes, and tell every line that is wrong."""
    wrong = False
    for source in sources:
        try:
            _load(source)
        except (ValueError, OSError) as error:
            wrong = True
            typer.echo(f"{source}: not valid\n{plain(str(error))}", err=True)
        else:
            say(f"{source}: valid")
    if wrong:
        raise typer.Exit(1)


def _load(source: str) -> LoadedRecipe:
    from textpl.recipes.hub import SCHEME, resolve
    from textpl.recipes.parsing import load_recipe

    return load_recipe(resolve(source) if source.startswith(SCHEME) else source)


def _spread(side: Side) -> str:
    return f"{side.mean:.1f}" + ("" if side.std is None else f" ± {side.std:.1f}")
