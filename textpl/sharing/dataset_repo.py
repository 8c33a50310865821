"""Push labelled rows to the Hub by `datasets.Dataset.push_to_hub`, with a card that tells how far to trust them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from huggingface_hub import get_token

from textpl.recipes.hub.card_text import split_card
from textpl.recipes.hub.errors import clear_errors
from textpl.recipes.hub.files import CARD, refuse_secrets
from textpl.recipes.hub.repos import (
    Pushed,
    Target,
    client,
    commit_card,
    commit_files,
    need_token,
    open_target,
    read_card,
)
from textpl.sharing.dataset_card import dataset_card
from textpl.sharing.labelled_rows import LabelledRows, refuse_secret_texts


def push_dataset(rows: LabelledRows, target: Target, *, license: str | None = None, dry_run: bool = False) -> Pushed:
    """Share labelled rows.

    Args:
        rows: what to share.
        target: where to.
        license: identifier on the Hub for the card.
        dry_run: change nothing, ask nobody.

    Raises:
        RecipeError: for texts that hold a secret, a repository that holds something else, or what goes wrong at the
            Hub.
    """
    token = get_token()
    refuse_secret_texts(rows.dataset, token)
    for name, content in rows.files.items():
        refuse_secrets(name, content, token)

    def card(commit: str | None, there: Mapping[str, Any]) -> str:
        wanted = license or there.get("license")
        return dataset_card(rows, repo_id=target.repo_id, revision=commit, license=wanted, there=there)

    text = card(None, {})
    data = f"data/{rows.split}-*.parquet"
    # As it lies in memory; parquet is smaller.
    sizes = {data: rows.dataset.data.nbytes, **{n: len(c) for n, c in rows.files.items()}, CARD: len(text.encode())}
    warning = f"the {len(rows.dataset):,} texts themselves go up: make sure that they may be shared, or use --private"
    notes = () if target.private else (warning,)
    if dry_run:
        return Pushed(target.repo_id, None, sizes, notes, "dataset", text)
    need_token()
    with clear_errors(target.repo_id, target.revision, pushing="the rows were not shared"):
        api = client()
        there = open_target(api, target, sizes)
        # The card goes first, so that a push that breaks off leaves what the next one knows as its own.
        first = {} if there.edited else {CARD: card(None, there.metadata).encode()}
        if rows.files or first:
            commit_files(api, target, {**rows.files, **first}, (), "How the labels were made")
        commit = rows.dataset.push_to_hub(
            target.repo_id, split=rows.split, revision=target.revision, commit_message="Rows with labels"
        ).oid
        if not there.edited:
            # push_to_hub has written there what the columns are; that stays.
            metadata = split_card(read_card(api, target))[0]
            commit_card(api, target, text := card(commit, metadata))
    return Pushed(target.repo_id, commit, sizes, notes + there.notes(), "dataset", None if there.edited else text)
