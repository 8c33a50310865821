"""The commands `textpl recipes ...`: parse, call one function, print."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from textpl.recipes.parsing import LoadedRecipe
    from textpl.recipes.results import Side

recipes_app = typer.Typer(help="Find, check and share recipes.", no_args_is_help=True)
Source = Annotated[
    str, typer.Argument(help="A recipe file, a folder with recipe.yaml, a bundled name, or hf://owner/name[@revision].")
]


@recipes_app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Folder with recipe.yaml: your own, or one that textpl run wrote.")],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Where to; it is created if need be.")],
    private: Annotated[bool, typer.Option("--private", help="Only you and your organisation may see it.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to push to. Default: main.")] = None,
    license: Annotated[str | None, typer.Option(help="For the card, such as apache-2.0.")] = None,
    with_data: Annotated[
        bool, typer.Option("--with-data", help="Also the jsonl and parquet files beside the recipe that it names.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would go up, and stop.")] = False,
) -> None:
    """Share a recipe, with its results and a card, on the Hugging Face Hub."""
    with _errors_told():
        from textpl.recipes.hub import push as push_recipe

        done = push_recipe(
            folder,
            repo,
            private=private,
            revision=revision,
            license=license,
            with_data=with_data,
            dry_run=dry_run,
        )
    for name, size in done.files.items():
        _say(f"  {size:>12,}  {name}")
    for note in done.notes:
        _say(f"Note: {note}.")
    if dry_run:
        _say(f"These {len(done.files)} files would go to {done.repo_id}. Nothing was sent.")
    else:
        _say(f"Shared. To run exactly this:  textpl run hf://{done.repo_id}@{done.revision}")


@recipes_app.command()
def pull(
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="A recipe on the Hub; hf:// and @REVISION may be.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit. Default: main.")] = None,
    to: Annotated[Path | None, typer.Option(help="New folder. Default: NAME, here.")] = None,
) -> None:
    """Download a recipe, to read and change it."""
    with _errors_told():
        from textpl.recipes.hub import pull as pull_recipe

        folder = pull_recipe(repo, revision=revision, to=to)
    _say(f"{folder}\nTo run it:  textpl run {folder}")


@recipes_app.command("list")
def list_recipes(
    folder: Annotated[Path | None, typer.Argument(help="Folder of recipes; default: those that come along.")] = None,
) -> None:
    """List the recipes that come with textpl, or those in a folder, one line each."""
    with _errors_told():
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
            _say(f"{name:24s} {line}")
        if not found:
            _say(f"No recipes in {folder}.")


@recipes_app.command()
def show(source: Source) -> None:
    """Tell what a recipe does and what it measured, without running it."""
    with _errors_told():
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
    _say(f"{loaded.name}{': ' if recipe.description else ''}{recipe.description}\n")
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
        _say(f"  {key + ':' if key else '':16s}{value}")
    _say("\n" + to_yaml(recipe))


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
            typer.echo(f"{source}: not valid\n{_plain(str(error))}", err=True)
        else:
            _say(f"{source}: valid")
    if wrong:
        raise typer.Exit(1)


def _load(source: str) -> LoadedRecipe:
    from textpl.recipes.hub import SCHEME, resolve
    from textpl.recipes.parsing import load_recipe

    return load_recipe(resolve(source) if source.startswith(SCHEME) else source)


@contextlib.contextmanager
def _errors_told() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        typer.echo(f"Error: {_plain(str(error))}", err=True)
        raise typer.Exit(1) from error


def _spread(side: Side) -> str:
    return f"{side.mean:.1f}" + ("" if side.std is None else f" ± {side.std:.1f}")


def _say(text: str) -> None:
    typer.echo(_plain(text))


def _plain(text: str) -> str:
    """Text of strangers without what moves a terminal's cursor, colours it or turns the direction of letters."""
    return "".join(c for c in text if c.isprintable() or c == "\n")
