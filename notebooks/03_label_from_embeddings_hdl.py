# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Labels from embeddings
#
# A few labelled texts, a pile of unlabelled ones, and nothing is trained: sentence embeddings put similar texts close
# together, and labels spread from the labelled ones to their neighbours. HDL (hierarchical dynamic labelling, arXiv
# 2404.17173) is one way to do it; `textpl.label` has several, tries them on your labels, and says what to expect.

# %%
import datasets
import matplotlib.pyplot as plt
import numpy as np
import transformers
from sklearn.manifold import TSNE

import textpl
from textpl.corpus import read_corpus
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.encoders import get_encoder
from textpl.relabeling.methods import METHODS
from textpl.reports.figures import precision_figure
from textpl.splits import make_split

# %matplotlib inline
datasets.disable_progress_bars()
transformers.logging.disable_progress_bar()
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"

# %% [markdown]
# ## English reviews, forty labels
#
# The pool's own labels stay hidden in a column `gold`; they are used below only to see what is true.

# %%
reviews = read_corpus("bundled:sentiment")
split = make_split(reviews, seed=0, labels_per_class=20)
found = textpl.label(split.labeled, split.pool, label_names=reviews.label_names, progress=False)
print(found)

# %% [markdown]
# The report is made from the labelled rows alone, each labelled while its own label was hidden. With so few of them
# another method has to be clearly better than the default before it is taken; a few points are luck. And the precision
# to expect is an estimate from forty rows, with the interval that forty rows allow. Here is what is true:

# %%
gold = np.array(split.pool["gold"])
low, high = found.coverage.low[-1], found.coverage.high[-1]
print(f"expected {found.expected_precision:.1%} right (95 %: {low:.0%} to {high:.0%})", end=", ")
print(f"true {np.mean(found.labels == gold):.1%}")

# %% [markdown]
# ## Which method?
#
# All of them on the same rows, against the hidden labels. You cannot make this table for your own pool (you have no
# gold); `method="auto"` chooses by the labelled rows.

# %%
print(f"{'method':20}{'right, %':>9}{'labelled, %':>13}   what it does")
for name, method in METHODS.items():
    other = textpl.label(split.labeled, split.pool, method=name, label_names=reviews.label_names, progress=False)
    has = other.selected
    print(f"{name:20}{100 * np.mean(other.labels == gold):9.1f}{100 * has.mean():13.1f}   {method.summary}")

# %% [markdown]
# One split of one small corpus ranks nothing; over seeds and corpora: [how they
# compare](../docs/labels_from_embeddings.md). The warnings are textpl's own, and say why two of the methods suffer
# here: in these, rows that were labelled by votes vote on, so an error spreads. That pays where neighbours mostly
# agree. Whether they do can be asked beforehand:

# %%
print(*found.report["neighborhoods"], sep="\n")

# %% [markdown]
# The line to look at is q(k), how often a neighbour of a labelled row has the same label. Below q*(k) votes of rows
# that were voted on do more harm than good.
#
#
# ## Fewer labels, but surer ones
#
# Every label has a confidence, calibrated on the labelled rows. `rethreshold` keeps the surest; nothing is computed
# anew.

# %%
print(f"{'kept, rows':>12}{'expected, %':>13}{'true, %':>9}")
for precision in (0.8, 0.85, 0.9, 0.95):
    sure = found.rethreshold(precision=precision)
    keep = sure.selected
    if keep.any():
        right = np.mean(sure.labels[keep] == gold[keep])
        print(f"{keep.sum():12}{100 * sure.expected_precision:13.1f}{100 * right:9.1f}")
    else:
        print(f"{0:12}   no label is sure enough for {precision:.0%}")

# %%
figure = precision_figure(found)
axes = figure.axes[0]
order = np.argsort(-found.confidence)
kept = np.arange(1, len(order) + 1)
curve = 100 * np.cumsum(found.labels[order] == gold[order]) / kept
axes.plot(100 * kept[20:] / len(order), curve[20:], color=ORANGE, linestyle="--", label="truth (hidden labels)")
axes.legend(frameon=False, fontsize=9)
figure

# %% [markdown]
# The band is what forty rows can tell; the dashed line is what nobody has in practice. Above a certain demand nothing
# is left: forty rows cannot vouch for 95 %.
#
# ## Why this label?
#
# Evidence names the rows behind a label: those that voted or, for methods without votes, the nearest labelled ones.

# %%
hdl = textpl.label(split.labeled, split.pool, method="hdl", label_names=reviews.label_names, progress=False)
row = hdl.to_dataset().sort("confidence", reverse=True)[0]
print(f"{reviews.label_names[row['label']]} with {row['confidence']:.0%}: {row['text']}")
for voter in row["evidence"][:3]:
    text = (split.labeled if voter["source"] == "labeled" else split.pool)[voter["row"]]["text"]
    print(f"   {voter['similarity']:.2f} {voter['source']:9} {text[:90]}")

# %% [markdown]
# Read the similarities before the percentage. Texts that resemble each other as little as these are no kin, and the
# label of one says little about the other, however sure the vote. Some dozens of rows read like this tell more about a
# space than any summary.
#
# ## A map
#
# t-SNE of the embeddings. Large points are labelled; in the middle the pool as it came, on the right with the labels
# found. Where the colours are mixed on the map, no method on these embeddings can be sure.

# %% tags=["cover"]
texts = [*split.labeled["text"], *split.pool["text"]]
vectors = encode_cached(get_encoder("sentence-transformers/all-MiniLM-L6-v2"), texts, progress=False)
flat = TSNE(perplexity=20, metric="cosine", init="pca", random_state=0).fit_transform(vectors)
ours, theirs = flat[: len(split.labeled)], flat[len(split.labeled) :]
given = np.array(split.labeled["label"])
figure, panels = plt.subplots(1, 3, figsize=(10, 3.3), layout="constrained")
titles = ("what we have", f"labels found: {np.mean(found.labels == gold):.0%} right", "the truth")
for axes, title, labels in zip(panels, titles, (None, found.labels, gold), strict=True):
    for k, (colour, marker) in enumerate([(ORANGE, "o"), (BLUE, "^")]):
        if labels is not None:
            axes.scatter(*theirs[labels == k].T, s=12, c=colour, marker=marker, alpha=0.5, linewidths=0)
        name = reviews.label_names[k]
        axes.scatter(*ours[given == k].T, s=55, c=colour, marker=marker, edgecolors="black", label=name)
    if labels is None:
        axes.scatter(*theirs.T, s=10, c=GREY, alpha=0.4, linewidths=0, zorder=0)
        axes.legend(frameon=False, fontsize=8)
    axes.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## Several labels per text
#
# Support tickets with ten labels. The same call; confidences and thresholds are per cell.

# %%
tickets = read_corpus("bundled:tickets")
rows = make_split(tickets, seed=0, labeled=80)
by_topic = textpl.label(rows.labeled, rows.pool, label_names=tickets.label_names, progress=False)
print(by_topic)
gold_cells = np.array(rows.pool["gold"])
given_cells = by_topic.labels == 1
print(f"true precision of the labels given {gold_cells[given_cells].mean():.1%}", end=", ")
print(f"share of the true labels found {given_cells[gold_cells == 1].mean():.1%}")

# %% [markdown]
# ## Chinese, without any model
#
# `encoder="lsa"` learns its vectors from the texts themselves: no download, any language. Two hundred short reviews are
# little to learn from, and sentiment is not what such vectors are good at. Mind the difference between the expected and
# the true share: the best of eight tries on sixty rows looks better than it is. Before you use such labels, check some
# dozens by hand.

# %%
chinese = read_corpus("bundled:sentiment_zh")
rows = make_split(chinese, seed=0, labels_per_class=30)
weak = textpl.label(rows.labeled, rows.pool, encoder="lsa", label_names=chinese.label_names, progress=False)
print(weak)
low, high = weak.coverage.low[-1], weak.coverage.high[-1]
print(
    f"from the 60 rows, 95 %: {low:.0%} to {high:.0%}; true: {np.mean(weak.labels == np.array(rows.pool['gold'])):.1%}"
)

# %% [markdown]
# ## And then?
#
# `found.to_dataset()` is training data: with `textpl.distillation(pool, column="probabilities", ...)` a classifier
# learns the soft labels ([05_distill_and_share_a_recipe](05_distill_and_share_a_recipe.ipynb)). On files: `textpl label
# labeled.csv pool.jsonl --out labels.parquet`.

# %%
labelled = found.to_dataset()
print(labelled.column_names)
labelled.select_columns(["text", "label", "confidence", "label_source"]).to_pandas().head(4)
