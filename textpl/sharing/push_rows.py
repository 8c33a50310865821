"""Push labeled rows to the Hub as parquet, with how their labels were made, and a card."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import get_token

from textpl.sharing.dataset_card import dataset_card
from textpl.sharing.labelled_rows import LabelledRows
from textpl.sharing.secrets import refuse_secret_texts
from textpl.sharing.upload import Content, Pushed, Target, upload


def push_rows(rows: LabelledRows, target: Target) -> Pushed:
    """Share labelled rows.

    Args:
        rows: what to share.
        target: where to.

    Raises:
        RecipeError: for texts that hold a secret, a repository that holds something else, or what goes wrong at the
            Hub.
    """
    refuse_secret_texts(rows.dataset, get_token())
    shard, shards = f"data/{rows.split}-00000-of-00001.parquet", f"data/{rows.split}-*.parquet"

    def card(commit: str | None, terms: str | None, there: Mapping[str, Any]) -> str:
        return dataset_card(rows, repo_id=target.repo_id, revision=commit, license=terms, there=there, shards=shards)

    warning = f"the {len(rows.dataset):,} texts themselves go up: make sure that they may be shared, or use --private"
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "rows.parquet"
        rows.dataset.to_parquet(file)
        owns = lambda name: fnmatch(name, shards)  # noqa: E731
        notes = () if target.private else (warning,)
        return upload(target, Content({shard: file, **rows.files}, card, owns, notes))
