# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Clean a noisy multi-label corpus
#
# Support tickets with several labels each, and nobody knows which labels to trust. To see how well errors are found we
# take a clean corpus and break it: then the truth is known. The steps are those for your own corpus: find, look, let a
# person decide some, apply, train, and undo if you change your mind.

# %%
import csv
from pathlib import Path

import datasets
import matplotlib.pyplot as plt
import numpy as np
import transformers
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

import textpl
from textpl.cleaning.injection import inject_noise
from textpl.corpus import read_corpus
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.encoders import get_encoder

# %matplotlib inline
datasets.disable_progress_bars()
transformers.logging.disable_progress_bar()
transformers.logging.set_verbosity_error()
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
Path("runs").mkdir(exist_ok=True)

# %% [markdown]
# ## Break it
#
# Thirty percent of the labels are taken away: what happens when annotators are in a hurry and stop after the first
# label that comes to mind. A *cell* is one (row, label) pair.

# %%
tickets = read_corpus("bundled:tickets")
names = tickets.label_names
truth = np.array(tickets.train["label"]).astype(np.int8)
noisy = inject_noise(truth, "missing", 0.3, seed=0)
wrong = noisy != truth
print(
    f"{len(truth)} tickets, {len(names)} labels, {truth.sum()} labels in truth; {wrong.sum()} of them are missing now"
)
corpus = tickets.train.remove_columns("label").add_column("labels", [np.flatnonzero(row).tolist() for row in noisy])

# %% [markdown]
# ## Find the errors
#
# The model that judges a row has not seen it in training; the labels of the nearest texts and the other labels of the
# row are weighed as well. Nothing here knows the truth. But we know how these labels came about, and say so:
# `noise="missing"`. Below you see what that is worth.

# %%
settings = {"label_column": "labels", "label_names": list(names), "progress": False}
report = textpl.find_label_issues(corpus, noise="missing", **settings)
print(report.summary())

# %%
cells = report.cells
cells.select_columns(["row", "label", "given", "suggested", "kind", "p_error", "text"]).to_pandas().head(8)

# %% [markdown]
# ## Is it right?
#
# Only here the truth is known: how many of the cells shown first are true errors, for each number of cells looked at.
# For comparison the same without saying what kind of noise it is. The dashed line is what cells picked at random would
# give.

# %% tags=["cover"]


def found_errors(some_report):
    """Share of true errors among the first n cells, for every n."""
    order = np.argsort(-some_report.p_error.ravel(), kind="stable")
    return wrong.ravel()[order].cumsum() / np.arange(1, order.size + 1)


figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
blind = textpl.find_label_issues(corpus, **settings)
left.plot(np.arange(1, 151), 100 * found_errors(report)[:150], color=BLUE, label='noise="missing"')
left.plot(np.arange(1, 151), 100 * found_errors(blind)[:150], color=ORANGE, linestyle=":", label='noise="auto"')
left.axhline(100 * wrong.mean(), color=GREY, linestyle="--", label="at random")
left.set(xlabel="cells looked at, most suspicious first", ylabel="of these wrong, %", ylim=(0, 102))
left.legend(frameon=False, fontsize=8)
caught = (wrong & report.flagged).sum(0)
places = np.arange(len(names))
right.barh(places, wrong.sum(0), color=GREY, alpha=0.4, label="labels missing")
right.barh(places, caught, height=0.4, color=BLUE, label="of these flagged")
right.set_yticks(places, names, fontsize=8)
right.set_xlabel("cells")
right.legend(frameon=False, fontsize=8)
plt.show()
print(f"{'noise':9}{'flagged':>9}{'of these wrong':>16}{'of all errors':>15}{'expected':>10}{'true':>6}{'AP':>6}")
for name, each in (("missing", report), ("auto", blind)):
    hit, score = wrong[each.flagged], average_precision_score(wrong.ravel(), each.p_error.ravel())
    print(f"{name:9}{len(hit):9}{hit.mean():16.0%}{hit.sum() / wrong.sum():15.0%}", end="")
    print(f"{each.expected_errors:10.0f}{wrong.sum():6}{score:6.2f}")

# %% [markdown]
# Two hundred tickets are few: only about half of the errors are expected, and fewer are flagged. But most of what
# is flagged is wrong indeed. Saying what kind of noise it is helps a little here, and on other corpora more:
# [the numbers](../docs/cleaning.md).
#
# ## Let a person decide
#
# `review_queue` says which cells to look at first, and writes them for a spreadsheet (or Argilla, or Label Studio).
# Here the person is played by the truth; with your corpus it is you, filling the column `decision`. With forty cells to
# spend we take the most probable errors; the default strategy spends its first two hundred on cells from which the
# detector learns about the others.

# %%
report.review_queue(40, strategy="p_error").to_csv("runs/review.csv")
with open("runs/review.csv", encoding="utf-8-sig", newline="") as file:
    questions = list(csv.DictReader(file))
print("columns:", ", ".join(questions[0]))
print(f"first: {questions[0]['question']}  {questions[0]['text'][:120]}")
for line in questions:
    line["decision"] = "yes" if truth[int(line["row"]), names.index(line["label"])] else "no"
with open("runs/review.csv", "w", encoding="utf-8-sig", newline="") as file:
    writer = csv.DictWriter(file, fieldnames=list(questions[0]))
    writer.writeheader()
    writer.writerows(questions)

reviewed = report.apply_review("runs/review.csv")
changed = sum(int(line["decision"] == "yes") != int(line["given"]) for line in questions)
print(f"{len(questions)} cells decided, {changed} of them were wrong")

# %% [markdown]
# ## Apply, and undo
#
# No row is removed. By default doubtful cells are *masked* (`label_weight` 0: the loss skips them), since a row with
# one wrong label is right in all others; `apply(relabel=0.5)` corrects instead. What a person decided is corrected
# either way. The labels as given stay in a column.

# %%
print(reviewed.plan().summary())
cleaned = reviewed.apply()
print("columns:", ", ".join(cleaned.column_names))
back = textpl.undo(cleaned)
print("undo gives back what was there:", back["labels"][:] == corpus["labels"][:])

# %% [markdown]
# ## Does a model get better?
#
# One logistic regression per label on the sentence embeddings, tested on tickets whose labels nobody touched. Errors of
# the test labels would spoil the measurement, so a test set is cleaned by people or not at all: `apply` refuses it.

# %%
encoder = get_encoder("sentence-transformers/all-MiniLM-L6-v2")
vectors = encode_cached(encoder, list(tickets.train["text"]), progress=False)
test_vectors = encode_cached(encoder, list(tickets.test["text"]), progress=False)
test_truth = np.array(tickets.test["label"]).astype(int)


def test_score(labels, weight=None):
    """Mean over the labels of the average precision on the test tickets."""
    weight = np.ones(labels.shape) if weight is None else weight
    found = []
    for k in range(labels.shape[1]):
        model = LogisticRegression(C=10, class_weight="balanced").fit(vectors, labels[:, k], weight[:, k])
        found.append(average_precision_score(test_truth[:, k], model.predict_proba(test_vectors)[:, 1]))
    return np.mean(found)


def multi_hot(rows):
    return np.array([[k in row for k in range(len(names))] for row in rows]).astype(int)


corrected = reviewed.apply(relabel=0.5)
masked = test_score(multi_hot(cleaned["labels"]), np.array(cleaned["label_weight"]))
print(f"noisy labels        {100 * test_score(noisy):.1f}")
print(f"cleaned, masked     {100 * masked:.1f}")
print(f"cleaned, corrected  {100 * test_score(multi_hot(corrected['labels'])):.1f}")
print(f"the true labels     {100 * test_score(truth):.1f}")
print("mean average precision on 100 test tickets, in %; one draw of the noise")

# %% [markdown]
# One draw on a small corpus: differences of a point or two are within luck. The benchmark in the documentation repeats
# it over corpora, kinds of noise and seeds.
#
# ## In a Trainer
#
# `label_weight` goes along with the dataset; `textpl.NoisyLabels()` makes the stock Trainer heed it. Four steps only
# show that it fits together.

# %%
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments  # noqa: E402
from transformers.trainer_callback import PrinterCallback  # noqa: E402

from textpl.models import resolve_model  # noqa: E402

folder = resolve_model("sentence-transformers/all-MiniLM-L6-v2")
tokenizer = AutoTokenizer.from_pretrained(folder)
rows = datasets.Dataset.from_dict(
    {
        **tokenizer(list(cleaned["text"]), truncation=True, max_length=48),
        "label": multi_hot(cleaned["labels"]).astype(np.float32),
        "label_weight": cleaned["label_weight"][:],
    }
)
model = AutoModelForSequenceClassification.from_pretrained(
    folder, num_hidden_layers=2, num_labels=len(names), problem_type="multi_label_classification"
)
args = TrainingArguments("runs/trainer", max_steps=4, report_to="none", disable_tqdm=True, use_cpu=True)
trainer = Trainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer)
trainer.remove_callback(PrinterCallback)
textpl.attach(trainer, textpl.NoisyLabels())
print(f"loss after {trainer.train().global_step} steps: {trainer.state.log_history[-1]['train_loss']:.3f}")

# %% [markdown]
# On files, with a report to look at in the browser: `textpl clean tickets.csv --text text --labels labels --out
# cleaned`.
