"""Do several reviewers decide rightly, and is their accuracy known? Simulated people, against the majority.

    python benchmarks/annotators.py                  # about two minutes

People answer independently, each right with a probability of their own, else by a wrong answer at random; every cell is
answered by some of them. Of the cells about which they disagree: the share that majority and textpl decide rightly and
wrongly, the rest stays open; and the share of 95 % intervals of a person's accuracy that hold the truth. Binary answers
are "yes" in 70 % of the cells, as in a review queue.
"""

from __future__ import annotations

import argparse

import numpy as np

from textpl.annotations.dawid_skene import Answers
from textpl.cleaning.annotators import combine

TEAMS = ((0.95, 0.9, 0.85), (0.9, 0.7, 0.65), (0.95, 0.9, 0.85, 0.8, 0.6))


def simulated(
    accuracy: tuple[float, ...], cells: int, each: int, classes: int, seed: int
) -> tuple[Answers, np.ndarray]:
    """Answers of people, `each` of them about every cell, and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, cells, p=(0.3, 0.7) if classes == 2 else None)
    person = np.concatenate([rng.choice(len(accuracy), each, replace=False) for _ in range(cells)])
    thing = np.repeat(np.arange(cells), each)
    right = rng.random(len(thing)) < np.array(accuracy)[person]
    answer = np.where(right, truth[thing], (truth[thing] + rng.integers(1, classes, len(thing))) % classes)
    return Answers(thing, person, answer, cells, len(accuracy), classes), truth


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = parser.parse_args().seeds
    for accuracy in TEAMS:
        for classes in (2, 4):
            for cells in (50, 200):
                found: list[list[float]] = []
                for seed in range(seeds):
                    answers, truth = simulated(accuracy, cells, 3, classes, seed)
                    votes = answers.votes()
                    torn = votes.max(1) < votes.sum(1)
                    majority = np.where(votes.max(1) > votes.sum(1) / 2, votes.argmax(1), -1)
                    ours = combine(answers)
                    low, high = ours.accuracy[:, 1], ours.accuracy[:, 2]
                    held = (
                        np.nanmean((low <= accuracy) & (high >= accuracy)) if ours.method == "dawid_skene" else np.nan
                    )
                    shares = [
                        float(value)
                        for answer in (majority, ours.answer)
                        for value in ((answer == truth)[torn].mean(), ((answer >= 0) & (answer != truth))[torn].mean())
                    ]
                    found.append([*shares, held])
                right, wrong, ours_right, ours_wrong, held = np.nanmean(found, axis=0)
                print(
                    f"{accuracy}, {classes} answers, {cells} cells: majority {right:.0%} right, {wrong:.0%} wrong; "
                    f"textpl {ours_right:.0%} right, {ours_wrong:.0%} wrong, {1 - ours_right - ours_wrong:.0%} open; "
                    f"intervals hold {held:.0%}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
