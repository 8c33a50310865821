"""How often is there a false verdict where seeds are added after a look at the result? A simulation, no training.

Baseline and method are equally good in the long run. Their difference varies between seeds by a standard deviation of
`--spread` points, a row is right for both or wrong for both in four of five cases. Whoever finds no verdict adds seeds
and looks again; the first verdict stands. The table gives the share of such stories that end with a verdict, in %, for
three ways to set the level of the k-th look: the same 95 % every time; 1 - .05 / 2^(k-1); and 1 - .05 / k^2, which
`textpl.looks` takes. At worst, were all looks independent, they would give 5 % per look, 10 % and 8.2 % in all.

A second table asks how safe the choice among two forms of labels-only is. One is as good as the method, the other 0 to
4 points worse. Judged against the form that scores best on the test rows, as `textpl.compare` does, or against one that
is chosen by 40 held-out labeled rows per seed: how often does the method "help" or "hurt" where its true gain over the
better form is 0?

    python benchmarks/peeking.py --stories 1000 --rows 200 1000     # 3 minutes on one core
    python benchmarks/peeking.py                                     # finer, half an hour
"""

from __future__ import annotations

import argparse

import numpy as np

from textpl.evaluation import paired_difference
from textpl.looks import level_of_look

PLANS = {"3, 5, 10": (3, 5, 10), "5, 10": (5, 10), "3, 4, ..., 10": tuple(range(3, 11))}
RULES = {
    "95 % every time": lambda k: 0.95,
    "1 - .05 / 2^(k-1)": lambda k: 1 - 0.05 / 2 ** (k - 1),
    "1 - .05 / k^2": lambda k: level_of_look(0.95, k),
}


def drawn(rng: np.random.Generator, seeds: int, rows: int, gains: list[np.ndarray]) -> list[np.ndarray]:
    """Whether each row is right, int (seeds, rows), of sides whose accuracy is 74 % plus `gains` (seeds,) each."""
    hard = 0.1 + 0.8 * rng.beta(4, 1, rows)
    shared = rng.random((seeds, rows))
    sides = []
    for gain in gains:
        own = np.where(rng.random((seeds, rows)) < 0.8, shared, rng.random((seeds, rows)))
        sides.append((own < hard + gain[:, None]).astype(np.int64))
    return sides


def interval(before: np.ndarray, after: np.ndarray, level: float = 0.95):
    """The interval of the difference of two sides."""
    return paired_difference(list(before), list(after), [np.ones_like(row) for row in before], "accuracy", level=level)


def peeked(rng: np.random.Generator, rows: int, spread: float) -> dict[tuple[str, str], bool]:
    """Whether a story ends with a verdict, by plan and rule."""
    zero = np.zeros(10)
    before, after = drawn(rng, 10, rows, [zero, rng.normal(0, spread / 100, 10)])
    ended = {}
    for plan, counts in PLANS.items():
        for rule, level in RULES.items():
            looks = (interval(before[:s], after[:s], level(k)) for k, s in enumerate(counts, start=1))
            ended[plan, rule] = any(look.low > 0 or look.high < 0 for look in looks)
    return ended


def chosen(rng: np.random.Generator, rows: int, spread: float, worse: float, seeds: int = 5) -> dict[str, str]:
    """The verdict of one story by the way in which the form of labels-only is chosen."""
    noise = [rng.normal(0, spread / 100, seeds) for _ in range(3)]
    gains = [noise[0], noise[1] - worse / 100, noise[2]]
    good, bad, method = drawn(rng, seeds, rows, gains)
    held = [side.mean() for side in drawn(rng, seeds, 40, gains[:2])]
    found = {
        "best on the test rows": interval(max(good, bad, key=np.mean), method),
        "by 40 held-out rows": interval(good if held[0] >= held[1] else bad, method),
        "always the worse form": interval(bad, method),
    }
    return {how: "helped" if one.low > 0 else "hurt" if one.high < 0 else "" for how, one in found.items()}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=2000)
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 1000, 7600])
    parser.add_argument("--spread", type=float, nargs="+", default=[1.0, 3.0])
    args = parser.parse_args()
    print("| rows | spread | seeds at each look |", " | ".join(RULES), "|\n|--|--|--|" + "--|" * len(RULES))
    for rows in args.rows:
        for spread in args.spread:
            stories = [peeked(np.random.default_rng([1, i]), rows, spread) for i in range(args.stories)]
            for plan in PLANS:
                shares = [f"{100 * np.mean([story[plan, rule] for story in stories]):.1f}" for rule in RULES]
                print(f"| {rows:,} | {spread:g} | {plan} |", " | ".join(shares), "|", flush=True)
    print("\n| rows | spread | other form worse by | chosen | helped | hurt |\n|--|--|--|--|--|--|")
    for rows in args.rows[:2]:
        for spread in args.spread:
            for worse in (0, 1, 2, 4):
                rng = np.random.default_rng([2, rows, worse])
                stories = [chosen(rng, rows, spread, worse) for _ in range(args.stories)]
                for how in stories[0]:
                    shares = [100 * np.mean([s[how] == verdict for s in stories]) for verdict in ("helped", "hurt")]
                    print(
                        f"| {rows:,} | {spread:g} | {worse} | {how} | {shares[0]:.1f} | {shares[1]:.1f} |", flush=True
                    )


if __name__ == "__main__":
    main()
