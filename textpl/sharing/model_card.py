"""The README.md of a model that `textpl run` trained: what it is, what it scored, where its labels come from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from textpl.recipes.describing import describe, is_hub_data
from textpl.recipes.hub.card_text import code_fence, merged, render, signed, with_front_matter
from textpl.recipes.hub.cards import (
    LISTED,
    TAG,
    data_read,
    difference,
    limits,
    provenance,
    recipe_metadata,
)
from textpl.recipes.parsing import to_yaml
from textpl.sharing.run_folder import RunFolder

# Our metric -> name and arguments of the Hub's, https://hf.co/metrics.
METRICS: dict[str, tuple[str, dict[str, Any]]] = {
    "accuracy": ("accuracy", {}),
    "macro_f1": ("f1", {"average": "macro"}),
    "micro_f1": ("f1", {"average": "micro"}),
    "subset_accuracy": ("accuracy", {"of": "whole label sets"}),
}
_SHOWN = 50  # labels that are named
_TEMPLATE = """\
# {{ name | md }}

A classifier of texts with {{ labels | length }} labels{% if multi %}, of which a text may have several{% endif %}, \
trained with textpl.
{% if description %}
Its recipe: {{ description | md }}
{% endif %}

Labels: {{ shown | map("md") | join(", ") }}{% if labels | length > shown | length %}, ...{% endif %}

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

## Results

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

With and without what the recipe tries, {{ metric | words | md }} over all seeds, in %:

| | mean | std | seeds |
|--|--|--|--|
{% for side, numbers in sides %}
| {{ side | md }} | {{ numbers.mean | points }} | {{ numbers.std | points }} | {{ numbers.seeds | length }} |
{% endfor %}

{{ difference }}
{% for line in besides %}

{{ line | md }}
{% endfor %}

## Training

{% for key, value in about %}
- {{ key }}: {{ value | md }}
{% endfor %}

{{ fence }}yaml
{{ text }}{{ fence }}

## Where the labels come from

{% for line in labels_from %}
- {{ line | md }}
{% endfor %}
{% for key, value in provenance %}
- {{ key }}: {{ value | md }}
{% endfor %}

## Make it again

{% if command %}
    {{ command | indent(blank=true) }}

{% endif %}
{{ remark | md }}

Who trains on with `transformers` shares by `trainer.push_to_hub()`; it writes the same files here, and a card of its \
own in place of this one.

## Limits

{% for limit in limits %}
- {{ limit | md }}
{% endfor %}
- It will be wrong in ways that the test rows do not show, on texts of another kind above all.
- Licence: {{ (license or "no licence given; ask whoever shared the model before you build on it") | md }}. \
The model it was fine-tuned from and the data have their own.
"""


def model_card(
    run: RunFolder, *, repo_id: str, revision: str | None = None, license: str | None = None,
    there: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
    """README.md for the model of a run.

    Args:
        run: what `textpl run` left.
        repo_id: owner/name.
        revision: commit that holds the model and its recipe; the commands are pinned to it.
        license: identifier on the Hub, such as apache-2.0.
        there: metadata of the card that this one replaces.
    """
    recipe, results = run.recipe, run.results
    metadata = merged(there or {}, model_metadata(run, repo_id, license))
    scores = results.model_scores()
    text = to_yaml(recipe)
    body = render(
        _TEMPLATE,
        name=repo_id.split("/")[-1],
        description=recipe.description,
        doubt=_doubt(run),
        multi=results.task == "multi",
        labels=run.label_names,
        shown=run.label_names[:_SHOWN],
        arguments=_arguments(repo_id, revision, results.task == "multi"),
        seed=results.model_seed,
        own=[(name, scores[name]) for name in sorted(scores, key=lambda name: name != results.metric)],
        metric=results.metric,
        sides=[(recipe.baseline, results.baseline), (recipe.tried, results.method)],
        difference=difference(results),
        besides=results.told_besides(),
        about=describe(recipe, run.beside),
        text=text,
        fence=code_fence(text),
        labels_from=labels_from(run),
        provenance=provenance(recipe, results),
        command=reproduce(run, repo_id, revision),
        remark=_remark(run),
        limits=limits(recipe, results, run.beside),
        license=metadata.get("license"),
    )
    return with_front_matter(metadata, signed(f"\n{body}", "model"))


def model_metadata(run: RunFolder, repo_id: str, license: str | None) -> dict[str, Any]:
    """What the Hub files a model under, with the scores of this very model as its `model-index`."""
    recipe, results = run.recipe, run.results
    made = recipe_metadata(recipe, results, license)
    model, data = recipe.model.name, data_read(recipe, results)
    on_hub = is_hub_data(recipe.data.source) and data == recipe.data.source
    known = [name for name in results.model_scores() if name in METRICS]
    card = ModelCardData(
        license=license,
        library_name="transformers",
        pipeline_tag="text-classification",
        base_model=None if model in run.beside else model,
        datasets=[data] if on_hub else None,
        metrics=list(dict.fromkeys(METRICS[name][0] for name in known)) or None,
        tags=[tag for tag in made["tags"] if tag != TAG or not run.beside],
        model_name=repo_id.split("/")[-1],
        eval_results=[
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
                metric_value=round(results.model_scores()[name] / 100, 4),
            )
            for name in known
        ]
        or None,
    )  # fmt: skip
    listed = {LISTED: made[LISTED]} if LISTED in made and not run.beside else {}
    return {key: value for key, value in card.to_dict().items() if value is not None} | listed


def reproduce(run: RunFolder, repo_id: str, revision: str | None) -> str:
    """The command that trains this again, where all that it needs can be had; empty where a model cannot."""
    if run.beside:
        return ""
    words = ["textpl", "run", f"hf://{repo_id}{'@' + revision if revision else ''}"]
    if run.results.method.seeds != list(run.recipe.seeds):
        words += ["--seeds", ",".join(map(str, run.results.method.seeds))]
    if _other_data(run):
        words += ["--data", data_read(run.recipe, run.results)]
    return shlex.join(words)


def labels_from(run: RunFolder) -> list[str]:
    """Who labelled what this model learnt from."""
    recipe, found = run.recipe, []
    sizes = next((one.sizes for one in (run.results.data.splits if run.results.data else [])), {})
    labelled = f"{sizes['labeled']:,} rows" if "labeled" in sizes else "The labelled rows"
    if recipe.noise is not None:
        found.append(f"{labelled} have the labels of the data, some of which were made wrong on purpose.")
    else:
        found.append(f"{labelled} have the labels that the data came with.")
    if "clean" in recipe.stages:
        found.append(
            "Of these, labels that looked wrong were changed, masked or given less weight by textpl's cleaning."
        )
    if recipe.has_pool:
        rows = f"{sizes['pool']:,} rows" if "pool" in sizes else "The pool's rows"
        by = "from embeddings, before the training" if "label" in recipe.stages else f"by {recipe.method.name}"
        found.append(f"{rows} without labels were pseudo-labelled {by}: no person has seen these labels.")
    return found


def _doubt(run: RunFolder) -> str:
    """One sentence to read before the model is used; "" where it was shown to be the better one."""
    if not run.results.doubted:
        return ""
    return f"This model was trained with {run.recipe.tried}, and {run.results.doubt()}: see the results below."


def _arguments(repo_id: str, revision: str | None, multi: bool) -> str:
    pin = f', revision="{revision}"' if revision else ""
    return f'model="{repo_id}"{pin}{", top_k=None" if multi else ""}'


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
