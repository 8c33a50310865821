"""The ledger of a labeling loop: which rows of which pool were chosen, round by round, beside the file to fill in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from textpl.atomic_files import read_json, write_json
from textpl.selecting.selection import Selection

SUFFIX = ".ledger.json"


@dataclass(frozen=True)
class Ledger:
    """Rounds of choices from one pool.

    Attributes:
        pool: as it was named.
        fingerprint: of its texts in their order.
        pool_rows: how many.
        rounds: `round` (from 1), `rows` in the order in which they were chosen, `strategy`, `by_doubt`, `seed`,
            `encoder`, `budget`, and how many rows were `labeled` then.
    """

    pool: str
    fingerprint: str
    pool_rows: int
    rounds: tuple[dict[str, Any], ...] = ()

    @property
    def rows(self) -> list[int]:
        """Every row that was ever chosen."""
        return [row for made in self.rounds for row in made["rows"]]

    def with_round(self, chosen: Selection, budget: int, labeled: int) -> Ledger:
        """The ledger with one more round."""
        made = {
            "round": len(self.rounds) + 1,
            "rows": chosen.rows.tolist(),
            "strategy": chosen.strategy,
            "by_doubt": chosen.doubt is not None,
            "seed": chosen.seed,
            "encoder": chosen.encoder,
            "budget": budget,
            "labeled": labeled,
        }
        return replace(self, rounds=(*self.rounds, made))

    def save(self, path: Path) -> None:
        """Write it beside the file `path`."""
        rounds = [dict(made) for made in self.rounds]
        write_json(ledger_of(path), {**vars(self), "rounds": rounds})

    def check_pool(self, source: str, fingerprint: str, path: Path) -> None:
        """Refuse a pool of other texts, or of another order, in which row numbers would mean other texts.

        Raises:
            ValueError: naming the remedy.
        """
        if fingerprint != self.fingerprint:
            raise ValueError(
                f"{source} has other texts, or in another order, than the {self.pool_rows:,} rows of {self.pool} that "
                f"{path} was chosen from: its row numbers would mean other texts. Give that pool as it was; or, to go "
                f"on with the new one, give a copy of {path} without its columns `row` and `round`, and another --out: "
                "its labels count, and its texts are not offered again."
            )


def ledger_of(path: Path) -> Path:
    """Where the ledger of a file lies."""
    return path.with_name(path.name + SUFFIX)


def read_ledger(path: Path) -> Ledger | None:
    """Read the ledger beside a file, None where there is none.

    Raises:
        ValueError: for one that is broken.
    """
    file = ledger_of(path)
    if not file.exists():
        return None
    remedy = f"Put back the {file.name} that textpl select wrote, or give a copy of {path} without `row` and `round`."
    found = read_json(file, remedy)
    try:
        return Ledger(**{**found, "rounds": tuple(found["rounds"])})
    except (TypeError, KeyError) as error:
        raise ValueError(f"{file} is no ledger of textpl select ({error}). {remedy}") from error
