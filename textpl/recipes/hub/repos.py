"""Repositories on the Hub to which textpl pushes: addresses, whether one may be written to, and whose card it holds."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, DatasetInfo, HfApi, ModelInfo, get_token

from textpl.recipes.finding import HUB
from textpl.recipes.hub.card_text import signer, split_card
from textpl.recipes.hub.errors import LOG_IN
from textpl.recipes.hub.files import CARD
from textpl.recipes.parsing import FILE_NAME, RecipeError

_REPO = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
_REVISION = r"[A-Za-z0-9][\w./-]*"
_URI = re.compile(rf"(?:{HUB})?({_REPO})(?:@({_REVISION}))?", re.ASCII)

Kind = Literal["recipe", "model", "dataset"]


@dataclass(frozen=True)
class Pushed:
    """What went up, or would.

    Attributes:
        repo_id: owner/name.
        revision: commit that holds the recipe, model or data; None after a dry run.
        files: bytes of each file by its path in the repository.
        notes: what the user should know, or better before others rely on it.
        kind: what it is.
        card: the text of README.md that was made; None where one written by hand stays.
    """

    repo_id: str
    revision: str | None
    files: dict[str, int]
    notes: tuple[str, ...]
    kind: Kind = "recipe"
    card: str | None = None


@dataclass(frozen=True)
class Target:
    """Where to push.

    Attributes:
        repo_id: owner/name.
        kind: what goes there.
        private: nobody else may see it; never turns a public repository into a private one.
        revision: branch instead of main.
        overwrite_card: also a card that was written or edited by hand.
    """

    repo_id: str
    kind: Kind
    private: bool = False
    revision: str | None = None
    overwrite_card: bool = False

    @property
    def repo_type(self) -> str:
        """What the Hub calls it: a recipe lies in a model repository."""
        return "dataset" if self.kind == "dataset" else "model"


@dataclass(frozen=True)
class There:
    """What a repository holds before a push.

    Attributes:
        files: paths.
        metadata: of its card.
        edited: its card was written or edited by hand, and stays.
    """

    files: tuple[str, ...]
    metadata: Mapping[str, Any]
    edited: bool

    def notes(self) -> tuple[str, ...]:
        """What to tell about the card."""
        if not self.edited:
            return ()
        return ("README.md on the Hub was edited by hand and stays as it is; --overwrite-card replaces it",)


def client() -> HfApi:
    """The Hub's client, which says for whom it asks."""
    from textpl import __version__

    return HfApi(library_name="textpl", library_version=__version__)


def parsed(uri: str) -> tuple[str, str | None]:
    """owner/name and revision of an address.

    Raises:
        RecipeError: if it is none.
    """
    found = _URI.fullmatch(uri)
    if found is None or ".." in uri or "--" in found[1]:
        raise RecipeError(f"{uri!r} is no recipe on the Hub: write owner/name, or hf://owner/name[@revision].")
    return found[1], found[2]


def parsed_name(repo_id: str) -> str:
    """owner/name of a repository to push to.

    Raises:
        RecipeError: if it is none, or names a revision.
    """
    found = _URI.fullmatch(repo_id)
    if found is None or ".." in repo_id or "--" in found[1]:
        raise RecipeError(f"{repo_id!r} is no repository on the Hub: write owner/name.")
    if found[2] is not None:
        raise RecipeError(f"{repo_id!r}: name the branch to push to with --revision {found[2]}.")
    return found[1]


def need_token() -> str:
    """The token from the environment or the stored login.

    Raises:
        RecipeError: if there is none.
    """
    token = get_token()
    if token is None:
        raise RecipeError(f"Pushing needs a token with write access: {LOG_IN}.")
    return token


def open_target(api: HfApi, target: Target, files: Collection[str]) -> There:
    """Create the repository and the branch if need be, and check that the files may go there.

    Args:
        api: the client.
        target: where to.
        files: paths that will be written.

    Raises:
        RecipeError: for a public repository where a private one is wanted, and one that holds something else.
    """
    where: dict[str, Any] = {"repo_id": target.repo_id, "repo_type": target.repo_type}
    api.create_repo(**where, private=target.private or None, exist_ok=True)
    info = api.repo_info(**where)
    assert isinstance(info, ModelInfo | DatasetInfo)
    if target.private and not info.private:
        raise RecipeError(
            f"{target.repo_id} is public already: make it private in its settings, or choose another name."
        )
    present = tuple(sibling.rfilename for sibling in info.siblings or ())
    card = _card(api, target, present, None)
    _refuse_others(target, present, card, files)
    if target.revision is not None:
        api.create_branch(**where, branch=target.revision, exist_ok=True)
        present = tuple(api.list_repo_files(**where, revision=target.revision))
        card = _card(api, target, present, target.revision)
    edited = card is not None and signer(card) is None and not target.overwrite_card
    return There(present, _metadata(card), edited)


def commit_files(
    api: HfApi, target: Target, files: Mapping[str, bytes | Path], stale: Collection[str], message: str
) -> str:
    """One commit with these files and without the stale ones; its id."""
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *(CommitOperationAdd(name, content) for name, content in files.items()),
        *map(CommitOperationDelete, stale),
    ]
    done = api.create_commit(
        target.repo_id,
        operations,
        repo_type=target.repo_type,
        commit_message=message,
        revision=target.revision,
    )
    return done.oid


def commit_card(api: HfApi, target: Target, card: str) -> None:
    """A commit of the card alone: it names the commit of what it is about, which a file in that commit cannot."""
    commit_files(api, target, {CARD: card.encode()}, (), "Card")


def read_card(api: HfApi, target: Target) -> str:
    """README.md as it is on the Hub; empty if there is none."""
    names = api.list_repo_files(target.repo_id, repo_type=target.repo_type, revision=target.revision)
    return _card(api, target, names, target.revision) or ""


def _card(api: HfApi, target: Target, present: Collection[str], revision: str | None) -> str | None:
    if CARD not in present:
        return None
    with tempfile.TemporaryDirectory() as place:
        path = api.hf_hub_download(target.repo_id, CARD, repo_type=target.repo_type, revision=revision, local_dir=place)
        return Path(path).read_text(encoding="utf-8", errors="replace")


def _refuse_others(target: Target, present: Collection[str], card: str | None, files: Collection[str]) -> None:
    made_as = None if card is None else signer(card)
    if made_as is not None and made_as != target.kind:
        raise RecipeError(f"{target.repo_id} holds a {made_as} that textpl pushed: choose another name.")
    if card is None:
        other = FILE_NAME not in present and not set(files).isdisjoint(present)
    else:
        other = "textpl" not in (_metadata(card).get("tags") or ()) and not target.overwrite_card
    if other:
        raise RecipeError(f"{target.repo_id} holds something else, which would be overwritten: choose another name.")


def _metadata(card: str | None) -> dict[str, Any]:
    try:
        return {} if card is None else split_card(card)[0]
    except RecipeError:
        return {}
