"""The README.md of a shared recipe, and of the model that a run trained: what it does, its scores and their limits."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from textpl.recipes.describing import describe, is_hub_data, told, unpinned
from textpl.recipes.measured import check_same
from textpl.recipes.method_settings import NO_METHOD
from textpl.recipes.recipe_text import to_yaml
from textpl.recipes.references import OWN_DATA
from textpl.recipes.results import DataRead, Results
from textpl.recipes.schema import Recipe
from textpl.sharing.card_text import code_fence, merged, render, signed, split_card, with_front_matter
from textpl.sharing.run_folder import RunFolder

TAG = "textpl-recipe"
LISTED = "textpl_recipe"  # in the metadata: what `recipes search` tells of a recipe without opening it
SHOWN = 100  # labels that are named
ENOUGH_SEEDS = 5  # fewer give an interval that says little
# Our metric -> name and arguments of the Hub's, https://hf.co/metrics.
METRICS: dict[str, tuple[str, dict[str, Any]]] = {
    "accuracy": ("accuracy", {}),
    "macro_f1": ("f1", {"average": "macro"}),
    "micro_f1": ("f1", {"average": "micro"}),
    "subset_accuracy": ("accuracy", {"of": "whole label sets"}),
}


def recipe_card(
    recipe: Recipe,
    results: Results | None,
    *,
    repo_id: str,
    revision: str | None = None,
    license: str | None = None,
    there: Mapping[str, Any] | None = None,
    beside: Collection[str] = (),
    picture: str = "",
) -> str:
    """Make README.md for a recipe on the Hub.

    Args:
        recipe: what is shared.
        results: of a run of it; without them the card says that there are none.
        repo_id: owner/name.
        revision: commit that holds the recipe; the command is pinned to it.
        license: identifier on the Hub, such as apache-2.0.
        there: metadata of the card that this one replaces.
        beside: names of the data that go up with it, as the recipe calls them.
        picture: name of the file that draws the results, if it goes up.

    Raises:
        RecipeError: if the results are of something else than the recipe.
    """
    if results is not None:
        check_same(recipe, results)
    metadata = merged(there or {}, recipe_metadata(recipe, results, license, beside))
    of_both = "the recipe and the data files here; the model has its own"
    return _card(
        recipe, results, metadata, beside, repo_id, "recipe",
        command=shlex.join(["textpl", "run", _address(repo_id, revision)]),
        licensed=of_both if beside else "the recipe; the data and the model have their own",
        picture=picture,
    )  # fmt: skip


def model_card(
    run: RunFolder,
    *,
    repo_id: str,
    revision: str | None = None,
    license: str | None = None,
    there: Mapping[str, Any] | None = None,
) -> str:
    """Make README.md for the model of a run.

    Args:
        run: what `textpl run` left.
        repo_id: owner/name.
        revision: commit that holds the model and its recipe; the commands are pinned to it.
        license: identifier on the Hub, such as apache-2.0.
        there: metadata of the card that this one replaces.
    """
    recipe, results = run.recipe, run.results
    scores, multi = results.model_scores(), results.task == "multi"
    command = ["textpl", "run", _address(repo_id, revision)]
    if results.method.seeds != list(recipe.seeds):
        command += ["--seeds", ",".join(map(str, results.method.seeds))]
    if results.data is not None and results.data.source != recipe.data.source:
        command += ["--data", data_read(recipe, results)]
    pin = f', revision="{revision}"' if revision else ""
    return _card(
        recipe, results, merged(there or {}, model_metadata(run, repo_id, license)), run.beside, repo_id, "model",
        command="" if run.beside else shlex.join(command),
        licensed="the model; the one it was fine-tuned from and the data have their own",
        labels=run.label_names,
        multi=multi,
        arguments=f'model="{repo_id}"{pin}{", top_k=None" if multi else ""}',
        scores=[(name, scores[name]) for name in sorted(scores, key=lambda name: name != results.metric)],
    )  # fmt: skip


def with_metadata(
    card: str, recipe: Recipe, results: Results | None, *, license: str | None = None, beside: Collection[str] = ()
) -> str:
    """Give a README that was written by hand the metadata by which the Hub finds recipes.

    Raises:
        RecipeError: if it starts with metadata that cannot be read.
    """
    given, text = split_card(card)
    made = recipe_metadata(recipe, results, license, beside)
    own = {key: value for key, value in given.items() if key not in ("tags", LISTED)}
    changed = {"license": license} if license is not None else {}
    return with_front_matter({**merged(given, made), **own, **changed}, text if given else f"\n{text}")


def recipe_metadata(
    recipe: Recipe, results: Results | None, license: str | None, beside: Collection[str] = ()
) -> dict[str, Any]:
    """Return what the Hub files a recipe under, and what a search tells of it."""
    method = [] if recipe.method.name == NO_METHOD else [f"textpl-{recipe.method.name}"]
    listed = {"description": recipe.description} if recipe.description else {}
    if results is not None:
        listed |= {"result": f"{results.metric.replace('_', ' ')}: {told(results)}"}
    return {
        **({"license": license} if license else {}),
        "library_name": "textpl",
        "tags": ["textpl", TAG, *method, "text-classification"],
        **({"datasets": [recipe.data.source]} if is_hub_data(recipe.data.source, beside) else {}),
        **({LISTED: listed} if listed else {}),
    }


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


def data_read(recipe: Recipe, results: Results) -> str:
    """Return the name of the data of the results: of files the last part, as nobody else has the folders."""
    if results.data is None:
        return "unknown"
    source = results.data.source
    on_hub = source == recipe.data.source and is_hub_data(source)
    return source if on_hub or source.startswith("bundled:") else re.split(r"[/\\]", source.rstrip("/\\"))[-1]


def _card(
    recipe: Recipe, results: Results | None, metadata: Mapping[str, Any], beside: Collection[str], repo_id: str,
    kind: str, **values: Any,
) -> str:  # fmt: skip
    text, elsewhere = to_yaml(recipe), "" if results is None else _measured_elsewhere(recipe, results)
    by_steps = "clean" in recipe.stages or recipe.compare.match == "steps"
    body = render(
        "run.md",
        **{"picture": "", **values},
        name=repo_id.split("/")[-1],
        model=kind == "model",
        recipe=recipe,
        results=results,
        match="in equally many steps" if by_steps else "at equal compute",
        sides=[(recipe.baseline, results.baseline), (recipe.tried, results.method)] if results else [],
        difference=_difference(results) if results else "",
        about=_about(recipe, results, beside, elsewhere),
        text=text,
        fence=code_fence(text),
        provenance=_provenance(recipe, results) if results else [],
        limits=_limits(recipe, results, beside, elsewhere, kind == "model"),
        license=metadata.get("license"),
    )
    return with_front_matter(metadata, signed(f"\n{body}", kind))


def _address(repo_id: str, revision: str | None) -> str:
    return f"hf://{repo_id}{'@' + revision if revision else ''}"


def _about(recipe: Recipe, results: Results | None, beside: Collection[str], elsewhere: str) -> list[tuple[str, str]]:
    """What the recipe does, and which labels there are where the results were measured on its data."""
    data, *rest = describe(recipe, beside)
    names = results.label_names if results is not None and not elsewhere else []
    more = f", ... ({len(names):,} in all)" if len(names) > SHOWN else ""
    return [data, *([("Labels", ", ".join(names[:SHOWN]) + more)] if names else []), *rest]


def _difference(results: Results) -> str:
    """The comparison in one sentence, with what its interval is worth."""
    level = f"{100 * results.difference.level:g} % interval"
    few = len(results.method.seeds) < ENOUGH_SEEDS
    more = f" Fewer than {ENOUGH_SEEDS} seeds: the interval says little." if few else ""
    return f"**{told(results)}** ({level}).{more}"


def _provenance(recipe: Recipe, results: Results) -> list[tuple[str, str]]:
    """Which data were read and what was done to the labels, as pairs of a heading and a line of plain text."""
    found: list[tuple[str, str]] = []
    if results.data is not None:
        at = f" at {results.data.revision}" if results.data.revision else ""
        found.append(("Data read", f"{data_read(recipe, results)}{at}"))
        if rows := _rows(recipe, results.data):
            found.append(("Rows", rows))
    if recipe.has_pool:
        by = "from embeddings, before the training" if "label" in recipe.stages else f"by {recipe.method.name}"
        found.append(("Labels of the pool", f"made {by}; no person has seen them"))
    if results.versions:
        found.append(("Made with", ", ".join(f"{name} {value}" for name, value in results.versions.items())))
    if results.recipe_source:
        found.append(("Run from", results.recipe_source))
    if "clean" in recipe.stages:
        numbers = [n for report in results.cleaning if isinstance(n := report.get("flagged"), int)]
        looked = f" ({', '.join(f'{n:,}' for n in numbers)} by seed)" if numbers else ""
        found.append(("Stage clean", f"labels that looked wrong were changed, masked or given less weight{looked}"))
    return found


def _rows(recipe: Recipe, data: DataRead) -> str:
    """How many rows were labelled, in the pool and in the test; several numbers where the seeds differ."""
    kinds = [("labeled", "labelled"), *([("pool", "in the pool")] if recipe.has_pool else []), ("test", "to test on")]
    counts = {told: dict.fromkeys(f"{s.sizes[kind]:,}" for s in data.splits if kind in s.sizes) for kind, told in kinds}
    return ", ".join(f"{' or '.join(numbers)} {told}" for told, numbers in counts.items() if numbers)


def _limits(recipe: Recipe, results: Results | None, beside: Collection[str], elsewhere: str, model: bool) -> list[str]:
    """What the results do not say; `beside`, names of what lies beside the recipe and cannot change unnoticed."""
    found = ["Results are of these rows, this model and this budget; on other text, run it there."] if results else []
    if model:
        found.append("It will be wrong in ways that the test rows do not show, on texts of another kind above all.")
    if model and beside:
        names = " and ".join(beside)
        found.append(f"Only who trained it can do so again: the recipe starts from {names}, a model that is not here.")
    if loose := unpinned(recipe, beside):
        since = " after the results were made" if results else ""
        found.append(f"Not pinned: {' and '.join(loose)}. What is read may change{since}.")
    if elsewhere:
        found.append(f"Measured on {elsewhere}, which is not the data that the recipe names ({recipe.data.source}).")
    if model and results is not None and recipe.data.source == OWN_DATA:
        found.append(f"{data_read(recipe, results)} stands for your data: those that it was trained on are not here.")
    if recipe.noise is not None:
        found.append("Wrong labels were put in on purpose: real errors are of other kinds.")
    if results is not None and len(results.method.seeds) < ENOUGH_SEEDS:
        found.append(f"Measured on {len(results.method.seeds)} seed(s) only.")
    return found


def _measured_elsewhere(recipe: Recipe, results: Results) -> str:
    """Name of the data that were read where the recipe names others; "" where it names these, or none."""
    if results.data is None or recipe.data.source == OWN_DATA:
        return ""
    read = data_read(recipe, results)
    return "" if read.split("/")[-1] == recipe.data.source.rstrip("/").split("/")[-1] else read
