"""Write to the Hub: one commit of files, and one of the card that names it; never into what is somebody else's."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, DatasetInfo, HfApi, ModelInfo, get_token

from textpl.recipes.allowed_files import CARD
from textpl.recipes.fetching import client, split_address
from textpl.recipes.hub_errors import LOG_IN, clear_errors
from textpl.recipes.recipe_text import FILE_NAME
from textpl.recipes.yaml_text import RecipeError
from textpl.sharing.card_text import signer, split_card
from textpl.sharing.secrets import refuse_secrets

Kind = Literal["recipe", "model", "dataset"]
EDITED = "README.md on the Hub was edited by hand and stays as it is; --overwrite-card replaces it"


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
        license: identifier on the Hub for the card, such as apache-2.0.
        overwrite_card: also a card that was written or edited by hand.
        dry_run: change nothing, ask nobody.
    """

    repo_id: str
    kind: Kind
    private: bool = False
    revision: str | None = None
    license: str | None = None
    overwrite_card: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Raise RecipeError unless `repo_id` is owner/name, without a revision."""
        found = split_address(self.repo_id)
        if found is None or found[0] not in (self.repo_id, self.repo_id.partition("@")[0]):
            raise RecipeError(f"{self.repo_id!r} is no repository on the Hub: write owner/name.")
        if found[1] is not None:
            raise RecipeError(f"{self.repo_id!r}: name the branch to push to with --revision {found[1]}.")

    @property
    def repository(self) -> dict[str, Any]:
        """Arguments by which the client knows it; a recipe lies in a model repository."""
        return {"repo_id": self.repo_id, "repo_type": "dataset" if self.kind == "dataset" else "model"}


@dataclass(frozen=True)
class Content:
    """What goes up.

    Attributes:
        files: everything but the card, by path in the repository.
        card: makes README.md of the commit that holds the files (None: not known yet), the licence, and the metadata
            of the card that it replaces.
        owns: tells which paths are of the same kind; of these, what is not among `files` is deleted.
        notes: for the user.
        card_by_hand: somebody wrote the card, so that it needs no commit and gives way to none.
    """

    files: Mapping[str, bytes | Path]
    card: Callable[[str | None, str | None, Mapping[str, Any]], str]
    owns: Callable[[str], bool]
    notes: tuple[str, ...] = ()
    card_by_hand: bool = False


def upload(target: Target, content: Content) -> Pushed:
    """Push files and card, once no file holds a secret.

    Raises:
        RecipeError: for a secret, no or a refused token, a repository that is public or holds something else, or no
            network.
    """
    for name, file in content.files.items():
        if not name.endswith(".safetensors"):
            refuse_secrets(name, file, get_token())
    text = content.card(None, target.license, {})
    refuse_secrets(CARD, text.encode(), get_token())
    sizes = {name: len(c) if isinstance(c, bytes) else c.stat().st_size for name, c in content.files.items()}
    sizes[CARD] = len(text.encode())
    if target.dry_run:
        return Pushed(target.repo_id, None, sizes, content.notes, target.kind, text)
    if get_token() is None:
        raise RecipeError(f"Pushing needs a token with write access: {LOG_IN}.")
    with clear_errors(target.repo_id, target.revision, pushing="nothing was shared"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
        api = client()
        present, there = _open(api, target, content.files)
        edited = there is not None and signer(there) is None and not (target.overwrite_card or content.card_by_hand)
        stale = [name for name in present if content.owns(name) and name not in content.files and name != CARD]
        metadata = _still_true(_metadata(there), {*present, *content.files} - {*stale})
        terms = target.license or metadata.get("license")
        first = {} if edited else {CARD: content.card(None, terms, metadata).encode()}
        commit = _commit(api, target, {**content.files, **first}, stale)
        if not edited and not content.card_by_hand:
            text = content.card(commit, terms, metadata)  # names the commit, which a file in that commit cannot
            _commit(api, target, {CARD: text.encode()}, ())
    notes = (*content.notes, *([EDITED] if edited else []))
    return Pushed(target.repo_id, commit, sizes, notes, target.kind, None if edited else text)


def _open(api: HfApi, target: Target, files: Collection[str]) -> tuple[list[str], str | None]:
    """Create the repository and the branch if need be; return the paths there and the card, if these may be replaced.

    Raises:
        RecipeError: for a public repository where a private one is wanted, and one that holds something else.
    """
    api.create_repo(**target.repository, private=target.private or None, exist_ok=True)
    info = api.repo_info(**target.repository)
    assert isinstance(info, ModelInfo | DatasetInfo)
    if target.private and not info.private:
        raise RecipeError(
            f"{target.repo_id} is public already: make it private in its settings, or choose another name."
        )
    present = [sibling.rfilename for sibling in info.siblings or ()]
    card = _card(api, target, present, None)
    _refuse_others(target, present, card, files)
    if target.revision is not None:
        api.create_branch(**target.repository, branch=target.revision, exist_ok=True)
        present = api.list_repo_files(**target.repository, revision=target.revision)
        card = _card(api, target, present, target.revision)
    return present, card


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


def _commit(api: HfApi, target: Target, files: Mapping[str, bytes | Path], stale: Collection[str]) -> str:
    """Make one commit with these files and without the stale ones; return its id."""
    changes: list[CommitOperationAdd | CommitOperationDelete] = [
        *(CommitOperationAdd(name, content) for name, content in files.items()),
        *map(CommitOperationDelete, stale),
    ]
    message = "Card" if set(files) == {CARD} else target.kind.capitalize()
    where = {**target.repository, "revision": target.revision}
    return str(api.create_commit(operations=changes, commit_message=message, **where).oid)


def _card(api: HfApi, target: Target, present: Collection[str], revision: str | None) -> str | None:
    if CARD not in present:
        return None
    with tempfile.TemporaryDirectory() as place:
        where = {**target.repository, "revision": revision}
        path = api.hf_hub_download(filename=CARD, local_dir=place, **where)
        return Path(path).read_text(encoding="utf-8", errors="replace")


def _still_true(metadata: Mapping[str, Any], files: Collection[str]) -> dict[str, Any]:
    """Metadata of a card, of the splits in it only those that have a file."""
    if not isinstance(configs := metadata.get("configs"), list):
        return {**metadata}
    return {**metadata, "configs": [_with_files(config, files) for config in configs if isinstance(config, dict)]}


def _with_files(config: Mapping[str, Any], files: Collection[str]) -> dict[str, Any]:
    """A configuration of a dataset, of its splits only those that have a file."""
    if not isinstance(splits := config.get("data_files"), list):
        return {**config}

    def there(split: Any) -> bool:
        paths = split.get("path") if isinstance(split, dict) else split
        patterns = [path for path in (paths if isinstance(paths, list) else [paths]) if isinstance(path, str)]
        return any(fnmatch(name, pattern) for name in files for pattern in patterns)

    return {**config, "data_files": [split for split in splits if there(split)]}


def _metadata(card: str | None) -> dict[str, Any]:
    try:
        return {} if card is None else split_card(card)[0]
    except RecipeError:
        return {}
