# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Why pseudo-labels work, and when they hurt
#
# Six labelled points, three hundred unlabelled ones. A *pseudo-label* is the answer of the model itself, taken for the
# truth: fit the model on the labels, label the rest with it, fit it on everything, and repeat (Lee, 2013).
#
# It sounds like lifting yourself by your own hair. This notebook shows in two dimensions why it is not, and how often
# it goes wrong. Nothing here needs textpl; the other notebooks do the same with text.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
COVARIANCES = np.array([[[1, 0.7], [0.7, 1]], [[1, -0.3], [-0.3, 0.6]]])


def two_gaussians(rng, rows, gap=3.5, second_class=0.5):
    """Points (rows, 2) and their classes; `gap` is the distance of the centres."""
    y = (rng.random(rows) < second_class).astype(int)
    noise = np.einsum("nij,nj->ni", np.linalg.cholesky(COVARIANCES)[y], rng.normal(size=(rows, 2)))
    return noise + np.stack([gap * (y - 0.5), np.zeros(rows)], axis=1), y


def draw(seed, world=two_gaussians, labels_per_class=3, **settings):
    """A few labelled points, a pool without labels, test points."""
    rng = np.random.default_rng(seed)
    (x, y), test = world(rng, 300, **settings), world(rng, 2000, **settings)
    few = np.concatenate([rng.choice(np.flatnonzero(y == k), labels_per_class, replace=False) for k in (0, 1)])
    return x[few], y[few], np.delete(x, few, axis=0), *test


# %% [markdown]
# ## The loop
#
# The model is quadratic discriminant analysis: one ellipse (mean and covariance) per class. It is small enough to be
# drawn.


# %%
def fit(x, y, priors=None):
    return QuadraticDiscriminantAnalysis(reg_param=0.2, priors=priors).fit(x, y)


def pseudo_label(x, y, pool, rounds=8, threshold=0.0, priors=None):
    """The models of all rounds; the first one has seen the labels only."""
    models = [fit(x, y, priors)]
    for _ in range(rounds):
        p = models[-1].predict_proba(pool)
        sure = p.max(axis=1) >= threshold
        models.append(fit(np.concatenate([x, pool[sure]]), np.concatenate([y, p.argmax(axis=1)[sure]]), priors))
    return models


def draw_model(axes, model, x, y, pool, title):
    """Decision boundary, ellipses at two standard deviations, pool (small) and labelled points (large)."""
    guess = model.predict(pool)
    across, up = np.meshgrid(np.linspace(-5, 5, 200), np.linspace(-4, 4, 200))
    p = model.predict_proba(np.stack([across.ravel(), up.ravel()], axis=1))[:, 1].reshape(across.shape)
    axes.contour(across, up, p, levels=[0.5], colors="black", linewidths=2)
    circle = np.stack([np.cos(t := np.linspace(0, 2 * np.pi, 100)), np.sin(t)])
    for k, (colour, marker) in enumerate([(BLUE, "o"), (ORANGE, "^")]):
        axes.scatter(*pool[guess == k].T, s=9, color=colour, marker=marker, alpha=0.35, linewidths=0)
        axes.scatter(*x[y == k].T, s=80, color=colour, marker=marker, edgecolors="black", zorder=3)
        rotation, scaling = model.rotations_[k], np.sqrt(model.scalings_[k])
        axes.plot(*(model.means_[k][:, None] + 2 * rotation @ (scaling[:, None] * circle)), color=colour, linewidth=1.5)
    axes.set(xlim=(-5, 5), ylim=(-4, 4), xticks=[], yticks=[])
    axes.set_title(title, fontsize=10)


# %% tags=["cover"]
x, y, pool, test_x, test_y = draw(seed=0)
models = pseudo_label(x, y, pool)
figure, panels = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
for axes, n in zip(panels, (0, 1, 8), strict=True):
    name = "labels only" if n == 0 else f"round {n} of pseudo-labels"
    draw_model(axes, models[n], x, y, pool, f"{name}: {models[n].score(test_x, test_y):.1%} right")
plt.show()

# %% [markdown]
# A draw in which it works well; how often it does comes further down. Large points have labels, small ones do not;
# their colour is what the model makes of them. The labels alone give crooked ellipses. Most guesses near the centres
# are right nevertheless, and hundreds of mostly right guesses fix an ellipse better than three certain points. Then the
# boundary moves, and some of the wrong guesses are put right.
#
# ## The same, seen as entropy
#
# Learning from one's own guesses rewards being sure (Grandvalet & Bengio, 2004): it pushes the boundary to where it
# leaves few points undecided, that is where there are few points. Below, a boundary of fixed steepness is moved along
# the direction in which the classes differ.

# %%
line = LogisticRegression().fit(x, y)
direction = line.coef_[0] / np.linalg.norm(line.coef_)
along, test_along = pool @ direction, test_x @ direction
places = np.linspace(-3, 3, 121)
p = 1 / (1 + np.exp(-3 * (along[:, None] - places)))
p = np.clip(p, 1e-9, 1 - 1e-9)
entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean(axis=0)
right = np.mean((test_along[:, None] > places) == test_y[:, None], axis=0)
start, best = -line.intercept_[0] / np.linalg.norm(line.coef_), places[entropy[20:-20].argmin() + 20]

figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
axes.hist(along, bins=40, color=GREY, alpha=0.3)
axes.set(xlabel="place of the boundary", ylabel="unlabelled points", xlim=(-4, 4))
curves = axes.twinx()
curves.plot(places, entropy, color=BLUE, label="mean entropy of the guesses (no label needed)")
curves.plot(places, 1 - right, color=ORANGE, linestyle="--", label="share of wrong answers (test points)")
curves.axvline(start, color="black", linestyle=":", label="boundary from the labels")
curves.axvline(best, color="black", label="boundary of least entropy")
curves.set_ylim(0, 0.55)
figure.legend(frameon=False, fontsize=8, ncols=2, loc="outside upper center")
plt.show()
print(f"right with the boundary from the labels: {right[abs(places - start).argmin()]:.1%}")
print(f"right with the boundary of least entropy: {right[abs(places - best).argmin()]:.1%}")

# %% [markdown]
# The two curves have their valley at nearly the same place, and the first one needs no label. (Far outside, where all
# points are on one side, the entropy is small again: a model that calls everything one class is sure too. That is one
# way in which the method collapses.)
#
# So there is one assumption in it: **the classes are clumps with a gap between them**, and the model can describe them.
# Where it does not hold, there is no reason to expect help.
#
# ## How often it helps, and how often it hurts
#
# One seed proves nothing. Here are six situations, fifty draws of the labels each.


# %%
def moons(rng, rows):
    """Two half-moons: well apart, but no ellipses."""
    x, y = make_moons(rows, noise=0.15, random_state=int(rng.integers(2**31)))
    return 1.5 * x, y


SITUATIONS = {
    "clumps apart": ({}, {}),
    "clumps overlap": ({"gap": 2}, {}),
    "overlap, sure ones only (0.9)": ({"gap": 2}, {"threshold": 0.9}),
    "overlap, 20 labels": ({"gap": 2, "labels_per_class": 10}, {}),
    "overlap, pool 9:1, model holds on to 1:1": ({"gap": 2, "second_class": 0.1}, {"priors": [0.5, 0.5]}),
    "half-moons: wrong shape": ({"world": moons}, {}),
}
SEEDS = range(50)


def scores(seed, data, method):
    x, y, pool, test_x, test_y = draw(seed, **data)
    models = pseudo_label(x, y, pool, **method)
    return [100 * model.score(test_x, test_y) for model in (models[0], models[-1])]


results = {name: np.array([scores(seed, *how) for seed in SEEDS]) for name, how in SITUATIONS.items()}
print(f"{'':42}{'labels only':>12}{'pseudo':>8}{'helped':>8}{'hurt':>6}{'worst':>8}")
for name, found in results.items():
    change = found[:, 1] - found[:, 0]
    before, after = found.mean(axis=0)
    helped, hurt = (change > 1).sum(), (change < -1).sum()
    print(f"{name:42}{before:12.1f}{after:8.1f}{helped:8}{hurt:6}{change.min():8.1f}")
print("accuracy in %; helped, hurt: by more than one point; worst: the greatest loss in points")

# %%
figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
for place, found in enumerate(reversed(results.values())):
    change = found[:, 1] - found[:, 0]
    spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(change))
    colours = np.where(change > 1, BLUE, np.where(change < -1, ORANGE, GREY))
    axes.scatter(change, place + spread, s=14, c=colours, alpha=0.7, linewidths=0)
    axes.plot([change.mean()] * 2, [place - 0.38, place + 0.38], color="black", linewidth=2)
axes.axvline(0, color="black", linewidth=0.8)
axes.set_yticks(range(len(results)), list(reversed(results)))
axes.set_xlabel("points of accuracy gained by pseudo-labels; one dot per draw, bar = mean")
axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## What confirmation bias looks like
#
# Here is the draw with overlapping clumps that lost most. The model is wrong at first, labels the pool accordingly, and
# learns its own mistakes. What makes it dangerous: nothing in the training looks bad.

# %%
losses = results["clumps overlap"][:, 1] - results["clumps overlap"][:, 0]
x, y, pool, test_x, test_y = draw(int(losses.argmin()), gap=2)
models = pseudo_label(x, y, pool)
figure, panels = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
for axes, model, name in zip(panels, (models[0], models[-1]), ("labels only", "pseudo-labels"), strict=True):
    draw_model(axes, model, x, y, pool, f"{name}: {model.score(test_x, test_y):.1%} right")
plt.show()
for model, name in ((models[0], "labels only"), (models[-1], "pseudo-labels")):
    sure = model.predict_proba(test_x).max(axis=1) >= 0.9
    wrong = (model.predict(test_x) != test_y)[sure].mean()
    print(f"{name}: at least 90 % sure of {sure.mean():.0%} of the test points, and wrong on {wrong:.0%} of those")

# %% [markdown]
# ## What to take to text
#
# - Pseudo-labels sharpen a boundary that is roughly right between classes that are apart. They do not find classes.
# - A threshold does not rescue a model that is sure and wrong.
# - The answer varies from one handful of labels to the next. One run says little; compare over several seeds, on test
#   rows that nothing was chosen on. `textpl.compare` does that, and gives an interval:
#   [02_finetune_with_unlabeled_text](02_finetune_with_unlabeled_text.ipynb).
# - A better space helps more than a better trick. Sentence embeddings put topics into clumps:
#   [03_label_from_embeddings_hdl](03_label_from_embeddings_hdl.ipynb).
