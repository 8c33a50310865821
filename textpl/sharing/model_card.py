"""What the README.md of a model that `textpl run` trained has besides that of its recipe: use, scores, metadata."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from textpl.recipes.describing import is_hub_data
from textpl.sharing.card_text import merged, render, signed, with_front_matter
from textpl.sharing.run_card import LISTED, SHOWN, TAG, card_body, data_read, recipe_metadata
from textpl.sharing.run_folder import RunFolder

# Our metric -> name and arguments of the Hub's, https://hf.co/metrics.
METRICS: dict[str, tuple[str, dict[str, Any]]] = {
    "accuracy": ("accuracy", {}),
    "macro_f1": ("f1", {"average": "macro"}),
    "micro_f1": ("f1", {"average": "micro"}),
    "subset_accuracy": ("accuracy", {"of": "whole label sets"}),
}
_INTRO = """\
A classifier of texts with {{ labels | length }} labels{% if multi %}, of which a text may have several{% endif %}, \
trained with textpl.{% if description %} Its recipe: {{ description | md }}{% endif %}


Labels: {{ labels[:shown] | map("md") | join(", ") }}{% if labels | length > shown %}, ...{% endif %}

{% if doubt %}

**{{ doubt | md }}**
{% endif %}

## Use it

It is a plain `AutoModelForSequenceClassification` and needs no textpl:

```python
from transformers import pipeline

classify = pipeline("text-classification", {{ arguments }})
print(classify("a text of yours"))
```
{% if multi %}

Every label has a probability of its own. The scores below cut it once per label; where, is in `results.json` under
`seed_results`, `thresholds`.
{% endif %}

## Where the labels come from

{% for line in labels_from %}
- {{ line | md }}
{% endfor %}

## Make it again

{% if command %}
    {{ command | indent(blank=true) }}

{% endif %}
{{ remark | md }}
"""
_SCORES = """\
{% if own %}
This very model (seed {{ seed }}) on the test rows, in %:

| metric | score |
|--|--|
{% for metric, score in own %}
| {{ metric | words | md }} | {{ score | points }} |
{% endfor %}
{% else %}
This is the model of seed {{ seed }}; its own score was not recorded.
{% endif %}
"""


def model_card(
    run: RunFolder, *, repo_id: str, revision: str | None = None, license: str | None = None,
    there: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
    """Make README.md for the model of a run.

    Args:
        run: what `textpl run` left.
        repo_id: owner/name.
        revision: commit that holds the model and its recipe; the commands are pinned to it.
        license: identifier on the Hub, such as apache-2.0.
        there: metadata of the card that this one replaces.
    """
    recipe, results = run.recipe, run.results
    metadata = merged(there or {}, model_metadata(run, repo_id, license))
    multi, scores = results.task == "multi", results.model_scores()
    pin = f', revision="{revision}"' if revision else ""
    doubt = f"This model was trained with {recipe.tried}, and {results.doubt()}: see the results below."
    intro = render(
        _INTRO,
        description=recipe.description,
        doubt=doubt if results.doubted else "",
        multi=multi,
        labels=run.label_names,
        shown=SHOWN,
        arguments=f'model="{repo_id}"{pin}{", top_k=None" if multi else ""}',
        labels_from=_labels_from(run),
        command=_command(run, repo_id, revision),
        remark=_remark(run),
    )
    own = [(name, scores[name]) for name in sorted(scores, key=lambda name: name != results.metric)]
    body = card_body(
        recipe,
        results,
        beside=run.beside,
        limits=["It will be wrong in ways that the test rows do not show, on texts of another kind above all."],
        name=repo_id.split("/")[-1],
        intro=intro,
        own_scores=f"{render(_SCORES, own=own, seed=results.model_seed)}\nWith and without what the recipe tries, ",
        license=metadata.get("license"),
        licensed="the model; the one it was fine-tuned from and the data have their own",
    )
    return with_front_matter(metadata, signed(f"\n{body}", "model"))


def model_metadata(run: RunFolder, repo_id: str, license: str | None) -> dict[str, Any]:
    """Return what the Hub files a model under, with the scores of this very model as its `model-index`."""
    recipe, results = run.recipe, run.results
    made = recipe_metadata(recipe, results, license)
    model, data, scores = recipe.model.name, data_read(recipe, results), results.model_scores()
    on_hub = is_hub_data(recipe.data.source) and data == recipe.data.source
    known = [name for name in scores if name in METRICS]
    evaluated = [
        EvalResult(
            task_type="text-classification",
            dataset_type=data,
            dataset_name=data,
            dataset_config=recipe.data.config if on_hub else None,
            dataset_split="test",
            dataset_revision=results.data.revision if results.data else None,
            metric_type=METRICS[name][0],
            metric_name=name.replace("_", " "),
            metric_args=METRICS[name][1] or None,
            metric_value=round(scores[name] / 100, 4),
        )
        for name in known
    ]
    card = ModelCardData(
        license=license,
        library_name="transformers",
        pipeline_tag="text-classification",
        base_model=None if model in run.beside else model,
        datasets=[data] if on_hub else None,
        metrics=list(dict.fromkeys(METRICS[name][0] for name in known)) or None,
        tags=[tag for tag in made["tags"] if tag != TAG or not run.beside],
        model_name=repo_id.split("/")[-1],
        eval_results=evaluated or None,
    )
    listed = {LISTED: made[LISTED]} if LISTED in made and not run.beside else {}
    return {key: value for key, value in card.to_dict().items() if value is not None} | listed


def _command(run: RunFolder, repo_id: str, revision: str | None) -> str:
    """The command that trains this again, where all that it needs can be had; empty where a model cannot."""
    if run.beside:
        return ""
    words = ["textpl", "run", f"hf://{repo_id}{'@' + revision if revision else ''}"]
    if run.results.method.seeds != list(run.recipe.seeds):
        words += ["--seeds", ",".join(map(str, run.results.method.seeds))]
    if _other_data(run):
        words += ["--data", data_read(run.recipe, run.results)]
    return shlex.join(words)


def _labels_from(run: RunFolder) -> list[str]:
    """Who labelled what this model learnt from."""
    recipe = run.recipe
    sizes = next((one.sizes for one in (run.results.data.splits if run.results.data else [])), {})
    labelled = f"{sizes['labeled']:,} rows" if "labeled" in sizes else "The labelled rows"
    wrong = ", some of which were made wrong on purpose" if recipe.noise is not None else ""
    found = [f"{labelled} have the labels that the data came with{wrong}."]
    if "clean" in recipe.stages:
        found.append(
            "Of these, labels that looked wrong were changed, masked or given less weight by textpl's cleaning."
        )
    if recipe.has_pool:
        rows = f"{sizes['pool']:,} rows" if "pool" in sizes else "The pool's rows"
        by = "from embeddings, before the training" if "label" in recipe.stages else f"by {recipe.method.name}"
        found.append(f"{rows} without labels were pseudo-labelled {by}: no person has seen these labels.")
    return found


def _remark(run: RunFolder) -> str:
    if run.beside:
        return f"Only who trained it can: the recipe starts from {' and '.join(run.beside)}, a model that is not here."
    if _other_data(run):
        name = data_read(run.recipe, run.results)
        return f"{name} stands for your data: those that it was trained on are not here; whoever trained it has them."
    return "It trains with and without what the recipe tries, on every seed; scores differ a little between machines."


def _other_data(run: RunFolder) -> bool:
    """Whether the recipe names other data than were read, or none."""
    return run.results.data is not None and run.results.data.source != run.recipe.data.source
