"""The commands `textpl push` and `textpl recipes push | pull | search`: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textpl.recipes_cli import recipes_app
from textpl.terminal import errors_told, say

if TYPE_CHECKING:
    from textpl.sharing.upload import Pushed

Repo = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Where to; it is created if need be.")]
Private = Annotated[bool, typer.Option("--private", help="Only you and your organisation may see it.")]
Branch = Annotated[str | None, typer.Option(help="Branch to push to. Default: main.")]
License = Annotated[str | None, typer.Option(help="For the card, such as apache-2.0.")]
Overwrite = Annotated[bool, typer.Option("--overwrite-card", help="Replace a card that was edited by hand on the Hub.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would go up, with the card, and stop.")]


def push_made(
    source: Annotated[Path, typer.Argument(help="Folder of textpl run or clean, or the file of textpl label.")],
    repo: Repo,
    private: Private = False,
    revision: Branch = None,
    license: License = None,
    overwrite_card: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Share a trained model, cleaned labels or found labels, with a card, on the Hugging Face Hub."""
    with errors_told():
        from textpl.sharing.push import push

        done = push(
            source,
            repo,
            private=private,
            revision=revision,
            license=license,
            overwrite_card=overwrite_card,
            dry_run=dry_run,
        )
    _print_pushed(done)
    if not dry_run:
        base = "datasets/" if done.kind == "dataset" else ""
        say(f"Shared: {base}{done.repo_id} at {done.revision}")


@recipes_app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Folder with recipe.yaml: your own, or one that textpl run wrote.")],
    repo: Repo,
    private: Private = False,
    revision: Branch = None,
    license: License = None,
    with_data: Annotated[
        bool,
        typer.Option("--with-data", help="Also the data beside the recipe (of a run: that was run) that it names."),
    ] = False,
    overwrite_card: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Share a recipe, with its results and a card, on the Hugging Face Hub."""
    with errors_told():
        from textpl.sharing.push_recipe import push_recipe

        done = push_recipe(
            folder,
            repo,
            private=private,
            revision=revision,
            license=license,
            with_data=with_data,
            overwrite_card=overwrite_card,
            dry_run=dry_run,
        )
    _print_pushed(done)
    if not dry_run:
        say(f"Shared. To run exactly this:  textpl run hf://{done.repo_id}@{done.revision}")


@recipes_app.command()
def pull(
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="A recipe on the Hub; hf:// and @REVISION may be.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit. Default: main.")] = None,
    to: Annotated[Path | None, typer.Option(help="New folder. Default: NAME, here.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be downloaded, and stop.")] = False,
) -> None:
    """Download a recipe, to read and change it."""
    with errors_told():
        from textpl.recipes.fetching import pull as pull_recipe

        done = pull_recipe(repo, revision=revision, to=to, dry_run=dry_run)
    if dry_run:
        for name, size in done.files.items():
            say(f"  {size:>12,}  {name}")
        say(f"These {len(done.files)} files would be written to {done.folder}. Nothing was kept.")
    else:
        say(f"{done.folder}\nTo run it:  textpl run {done.folder}")


@recipes_app.command()
def search(
    words: Annotated[list[str] | None, typer.Argument(help="In name, description, data, model or tags.")] = None,
    author: Annotated[str | None, typer.Option(help="User or organisation.")] = None,
    sort: Annotated[
        str, typer.Option(help="trending_score, downloads, likes, last_modified or created_at.")
    ] = "trending_score",
    limit: Annotated[int, typer.Option(help="Show at most so many.")] = 20,
) -> None:
    """Find recipes that people share on the Hugging Face Hub."""
    with errors_told():
        from textpl.sharing.search import search as search_recipes

        found = search_recipes(" ".join(words or []), author=author, sort=sort, limit=limit)  # type: ignore[arg-type]
    for one in found:
        lock = ", private" if one.private else ""
        say(f"{one.repo_id}  ({one.likes:,} likes, {one.downloads:,} downloads, changed {one.changed or '?'}{lock})")
        for line in (one.description, one.result):
            if line:
                say(f"    {line}")
    if found:
        say(f"To read one:  textpl recipes show hf://{found[0].repo_id}")
    else:
        say("No recipe on the Hub fits.")


def _print_pushed(done: Pushed) -> None:
    for name, size in done.files.items():
        say(f"  {size:>12,}  {name}")
    for note in done.notes:
        say(f"Note: {note}.")
    if done.revision is None:
        if done.card is not None:
            say(f"\nREADME.md:\n\n{done.card}")
        say(f"These {len(done.files)} files would go to {done.repo_id}. Nothing was sent.")
