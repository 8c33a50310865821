# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Distil a model, share a recipe
#
# Two ways to a small classifier that knows more than its labels: learn what a larger model says about unlabelled text,
# or learn soft labels made from embeddings. The second one goes into a recipe here: a short file that somebody else
# runs with one command.

# %%
import shutil
from pathlib import Path

import datasets
import matplotlib.pyplot as plt
import numpy as np
import transformers
from scipy.special import softmax
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

import textpl
from textpl.corpus import read_corpus
from textpl.models import load_classifier
from textpl.sharing.push_recipe import push_recipe
from textpl.splits import make_split
from textpl.tasks import make_task

# %matplotlib inline
datasets.disable_progress_bars()
transformers.logging.disable_progress_bar()
transformers.logging.set_verbosity_error()
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"

# %% [markdown]
# ## A teacher
#
# MiniLM with its six layers, fine-tuned on 120 labelled reviews; the other reviews are the pool.

# %%
reviews = read_corpus("bundled:sentiment")
split = make_split(reviews, seed=0, labels_per_class=60)
task = make_task(reviews.problem_type, len(reviews.label_names))


def make_trainer(seed, layers=None, steps=30):
    model, tokenizer = load_classifier(
        "sentence-transformers/all-MiniLM-L6-v2", task, list(reviews.label_names), layers=layers
    )
    model.base_model.embeddings.requires_grad_(False)  # quicker; with so few texts little is lost

    def tokenised(rows):
        return rows.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=48), batched=True)

    args = TrainingArguments(
        "runs/trainer",
        max_steps=steps,
        learning_rate=5e-4,
        warmup_steps=3,
        seed=seed,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=tokenised(split.labeled),
        eval_dataset=tokenised(split.test),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)  # else every logged line is printed
    trainer.tokenised = tokenised
    return trainer


transformers.set_seed(0)
teacher = make_trainer(seed=0)
teacher.train()
logits = teacher.predict(teacher.tokenised(split.pool).remove_columns("gold")).predictions
told = teacher.predict(teacher.eval_dataset)
teacher_right = np.mean(told.predictions.argmax(axis=1) == told.label_ids)
print(f"the teacher is right on {teacher_right:.1%} of {len(split.test)} test reviews")

# %% [markdown]
# ## What it says about the pool
#
# Not only which class, but how sure: where the teacher hesitates, the student is not told to be certain. That is what
# distillation has over plain pseudo-labels (Hinton et al., 2015).

# %%
probabilities = softmax(logits, axis=1)
for row in np.argsort(-probabilities[:, 1])[[0, len(logits) // 2, -1]]:
    print(f"{probabilities[row, 1]:.0%} positive: {split.pool[int(row)]['text'][:110]}")

# %% [markdown]
# ## A student of two layers
#
# The logits go into a column of the pool. (`textpl.distillation(pool, teacher=model)` computes them itself; a column is
# handy when the teacher is slow, or somebody else's.) `compare` trains students with and without the teacher's word on
# the same labels, those without as long as given and for the same compute, and judges by the better ones.

# %%
pool = split.pool.add_column("logits", logits.astype(np.float32).tolist())


def from_teacher(seed):
    return textpl.distillation(pool, column="logits", label_names=reviews.label_names, temperature=2, seed=seed)


comparison = textpl.compare(lambda seed: make_trainer(seed, layers=2), from_teacher, seeds=range(2), name="distilled")
print(comparison)

# %% tags=["cover"]
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.hist(100 * probabilities[:, 1], bins=20, color=GREY, alpha=0.6)
left.set(xlabel="teacher: probability of 'positive', %", ylabel="reviews of the pool")
left.set_title("soft labels", fontsize=10)
sides = (("labels only", comparison.baseline, ORANGE, "o"), ("distilled", comparison.method, BLUE, "^"))
for place, (_, outcomes, colour, marker) in enumerate(sides):
    values = [100 * outcome.scores["accuracy"] for outcome in outcomes]
    right.scatter([place] * len(values), values, color=colour, marker=marker, s=45, zorder=2)
    right.plot([place - 0.15, place + 0.15], [np.mean(values)] * 2, color=colour, linewidth=3)
right.axhline(100 * teacher_right, color="black", linestyle="--", linewidth=1)
right.annotate("teacher", (1.45, 100 * teacher_right), (0, 3), textcoords="offset points", ha="right", fontsize=9)
right.set(xlim=(-0.5, 1.5), ylim=(50, 100), ylabel="accuracy on the test reviews, %")
right.set_xticks([0, 1], [name for name, *_ in sides])
right.set_title("students of two layers, one point per seed", fontsize=10)
plt.show()


def layer_parameters(trainer):
    return sum(p.numel() for p in trainer.model.base_model.encoder.parameters())


print(f"parameters in the layers: teacher {layer_parameters(teacher):,}", end=", ")
print(f"student {layer_parameters(make_trainer(0, layers=2)):,}")

# %% [markdown]
# Two seeds and thirty steps show how it is done, not how much it brings: read the interval above.
#
# ## The same idea as a recipe
#
# A recipe says what differs from the defaults, nothing else. This one needs no fine-tuned teacher: the stage `label`
# makes soft labels from embeddings ([03](03_label_from_embeddings_hdl.ipynb)), the stage `train` distils them into the
# small model.

# %%
folder, out = Path("runs/small_reviews"), Path("runs/small_reviews_run")
shutil.rmtree(out, ignore_errors=True)  # of an earlier run of this notebook
folder.mkdir(parents=True, exist_ok=True)
recipe = """\
schema: 1
description: Sentiment of short reviews in two layers, 40 labels; the pool is labelled from embeddings first.
data: {source: "bundled:sentiment"}
split: {labels_per_class: 20}
model: {layers: 2, max_length: 48}
stages: [label, train]
method: {ratio: 1}
train: {max_steps: 20, learning_rate: 5.0e-4}
seeds: [0, 1]
"""
print((folder / "recipe.yaml").write_text(recipe), "characters")

# %% [markdown]
# A recipe is data: it is read strictly, and a typo is an error that names the line.

# %% language="bash"
# set -e
# textpl recipes validate runs/small_reviews
# sed 's/max_steps/max_stebs/' runs/small_reviews/recipe.yaml > runs/typo.yaml
# textpl recipes validate runs/typo.yaml || echo "(refused)"

# %% language="bash"
# set -eo pipefail
# TERM=dumb textpl run runs/small_reviews --out runs/small_reviews_run 2> runs/progress.log | tail -n 15
# ls runs/small_reviews_run

# %% [markdown]
# The folder of the run holds everything that a colleague needs: the model, `results.json` with every seed, and the
# recipe with all that was set. That folder is what goes to the Hub, less the model.
#
# ## What would go up
#
# `dry_run=True` asks nobody and sends nothing. The card is written from the results, whatever they are.

# %%
planned = push_recipe("runs/small_reviews_run", "your-name/small-reviews", license="apache-2.0", dry_run=True)
for name, size in planned.files.items():
    print(f"{size:>9,} bytes  {name}")
print("notes:", *planned.notes, sep="\n  ")

# %%
from textpl.recipes.parsing import load_recipe  # noqa: E402
from textpl.recipes.results import parse_results  # noqa: E402
from textpl.sharing.run_card import recipe_card  # noqa: E402

results = parse_results(Path("runs/small_reviews_run/results.json").read_bytes())
card = recipe_card(load_recipe("runs/small_reviews_run").recipe, results, repo_id="your-name/small-reviews")
print(card[card.index("## Results") :])

# %% [markdown]
# ## Share it, and run what others share
#
# With a token (`hf auth login`), the same from the command line:
#
# ```
# textpl recipes push runs/small_reviews_run your-name/small-reviews --license apache-2.0
# textpl recipes search sentiment
# textpl run hf://your-name/small-reviews            # anybody, anywhere: the same rows, seeds and settings
# textpl push runs/small_reviews_run your-name/small-reviews-model    # the trained model, with a card of its own
# ```
