"""The commands `textpl recipes push | pull`: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textpl.recipes_cli import recipes_app
from textpl.terminal import errors_told, say


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
    with errors_told():
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
        say(f"  {size:>12,}  {name}")
    for note in done.notes:
        say(f"Note: {note}.")
    if dry_run:
        say(f"These {len(done.files)} files would go to {done.repo_id}. Nothing was sent.")
    else:
        say(f"Shared. To run exactly this:  textpl run hf://{done.repo_id}@{done.revision}")


@recipes_app.command()
def pull(
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="A recipe on the Hub; hf:// and @REVISION may be.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit. Default: main.")] = None,
    to: Annotated[Path | None, typer.Option(help="New folder. Default: NAME, here.")] = None,
) -> None:
    """Download a recipe, to read and change it."""
    with errors_told():
        from textpl.recipes.hub import pull as pull_recipe

        folder = pull_recipe(repo, revision=revision, to=to)
    say(f"{folder}\nTo run it:  textpl run {folder}")
