"""Label a pool from embeddings: columns in, `PseudoLabels` out; nothing is trained."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from datasets import Dataset
from numpy.typing import ArrayLike

from textpl.embeddings.cache import encode_cached
from textpl.embeddings.cut_texts import CutTexts
from textpl.embeddings.encoders import DEFAULT_ENCODER, Encoder, get_encoder
from textpl.embeddings.hubness import Hubness, hubless_graph
from textpl.embeddings.neighbors import neighbor_graph, search, unit_rows
from textpl.evaluation import prior_thresholds
from textpl.label_annotations import fuse, read_for_both
from textpl.label_descriptions import Descriptions, LabelDescriptions, read_descriptions
from textpl.label_inputs import Known, read_known, read_texts
from textpl.label_issues.groups import joined, read_groups
from textpl.label_origin import LabelOrigin
from textpl.label_summary import label_report
from textpl.pseudo_labels import ADDED_COLUMNS, EMPTY, UNREACHED, Evidence, PseudoLabels
from textpl.reading.label_format import LabelFormat
from textpl.relabeling.calibration import HeldOut, calibrate, precision_coverage
from textpl.relabeling.label_names import name_vectors
from textpl.relabeling.methods import METHODS, GraphFunction, find_method, function_name
from textpl.relabeling.methods import described as described_method
from textpl.relabeling.nodes import Nodes
from textpl.relabeling.priors import resolve_prior
from textpl.relabeling.problem import Problem
from textpl.relabeling.soft_labels import GRAPH_K, SoftLabels, soft_labels
from textpl.selecting.chosen_rows import no_sample
from textpl.shared_passages import passages_warning

logger = logging.getLogger(__name__)

# Rows of evidence kept.
EVIDENCE_ROWS = 5
# Methods in which no row of the graph votes on another; kNN-DV's voters are the nearest labelled rows themselves.
WITHOUT_VOTES = ("linear", "linear_smoothed", "linear_propagation", "knn_dv")


def label(
    labeled: Dataset | None,
    unlabeled: Dataset,
    *,
    method: str | GraphFunction = "auto",
    encoder: str | Encoder | Any = DEFAULT_ENCODER,
    text_column: str = "text",
    label_column: str = "label",
    label_names: Sequence[str] | None = None,
    label_descriptions: LabelDescriptions | Literal["names"] | None = None,
    annotations: Any = None,
    multi_label: bool = False,
    label_format: LabelFormat | None = None,
    k: int | None = None,
    class_prior: Literal["none", "gold", "uniform"] | ArrayLike = "none",
    groups: Any = None,
    neighbors: Literal["auto", "exact", "approximate"] = "auto",
    hubness: Hubness | None = None,
    cache_dir: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> PseudoLabels:
    """Label unlabeled texts from a few labeled ones, from what the labels are called, or both, by sentence embeddings.

    Texts that are equal after encoding are one node; a pool text that is also a labelled one gets that label.

    When to use: to look at a pool before training, to make training data of it (`to_dataset`), or as a baseline that a
    trained model has to beat. Topics work with most encoders. Sentiment depends on the encoder: look at what the
    methods reach on the labeled rows, and compare encoders (`textpl.compare_encoders`); `textpl.HDLTeacher` works in
    the fine-tuned model's own space.

    Args:
        labeled: rows with a text and a label column (ids, names, lists of either, multi-hot). None where there are
            none: `label_names` or `label_descriptions` then say what the labels are, and nothing can be measured.
        unlabeled: rows with the same text column; labels in it are ignored.
        method: "auto" tries several on the labelled rows themselves; with fewer than 10 rows per class on average it
            takes "linear_smoothed" (multi-label: "linear") unseen. Or a key of
            `textpl.relabeling.methods.METHODS`, or a function called as `function(graph, targets, gold, multi=...)`:
            `functools.partial(hdl_paper, orphans="nearest", schedule="level")` is `hdl_paper` with other settings (it
            is given `to_gold` too), any that returns a `textpl.relabeling.result.Relabeling` will do.
        encoder: sentence-transformers id, folder or model, "lsa" (needs no download, any language), or an object with
            `name` and `encode(texts, *, progress=True)`.
        text_column: name of the text column in both.
        label_column: name of the label column.
        label_names: name of every label, in the order of the ids; default: the column's ClassLabel, or those found.
        label_descriptions: what the labels mean, as a signal beside the labeled rows: a text or several for every
            label, or "names" for the names as they are (without labeled rows the default). The linear methods are
            drawn toward their embeddings, as strongly as it proves right on the labeled rows, perhaps not at all.
        annotations: what others say of the rows: a large language model, rules, another tool, people not to be trusted
            blindly. A column, names of several, or a dict: annotator -> column, or one answer per row of the pool (or
            of the labeled rows and then the pool). How often each errs is estimated on the labeled rows with an answer
            and, by EM, on the others; each counts for what it proves on the labeled rows.
        multi_label: without labeled rows, whether a row may have several labels; `class_prior` must then tell how
            often each occurs. Else the labels show it.
        label_format: how labels are written, where that is not to be found out: a delimiter, what stands for no label.
        k: neighbours in the graph that the method sees; default: the method's.
        class_prior: the shares that the classes of the pool are known to have (single-label: the result is made to
            agree; multi-label: rates at which labels are cut, "none" takes the labelled rows').
        groups: what belongs together in `labeled`, such as the windows of one document or the texts of one author: a
            column, or a name or number for every row. What is expected of the labels is then measured on whole groups
            that were hidden, and holds for pool rows of other groups.
        neighbors: exact or approximate search; "auto" is exact for pools that allow it.
        hubness: against texts that are neighbours of very many others: "mutual" keeps neighbours only where each has
            the other in its list, "csls" ranks them by their similarity beyond what both have with everything.
        cache_dir: folder of cached embeddings; default: beside the datasets cache.
        seed: of folds and approximate search.
        progress: show progress bars.

    Returns:
        PseudoLabels: every row that could be labelled is selected; `rethreshold` is stricter.

    Raises:
        ValueError: for missing columns, texts or labels (the row is named), an empty dataset, fewer than two distinct
            embeddings, an unknown method or hubness correction, a k below 1, or a function that returns no Relabeling;
            for descriptions of labels that do not exist, or none of one that does, and annotators without an answer.

    Example:
        >>> import textpl
        >>> from datasets import Dataset
        >>> labeled = Dataset.from_dict({"text": ["good film", "dull book"], "label": ["yes", "no"]})
        >>> pool = Dataset.from_dict({"text": ["a good film", "the dull, dull book"]})
        >>> found = textpl.label(labeled, pool, encoder="lsa", method="knn_dv", progress=False)
        >>> [found.label_names[i] for i in found.labels]
        ['yes', 'no']
    """
    if method != "auto":
        find_method(method)  # refused before the encoding, not after it
    if k is not None and k < 1:
        raise ValueError(f"k={k}: at least one neighbour is needed.")
    if hubness not in (None, *get_args(Hubness)):
        raise ValueError(f"hubness={hubness!r}: use {', '.join(map(repr, get_args(Hubness)))} or None.")
    if labeled is None and groups is not None:
        raise ValueError("groups says which labeled rows belong together, and there are none: leave it out.")
    if text_column in ADDED_COLUMNS:
        raise ValueError(f"text_column={text_column!r} is the name of a column of the result: rename it first.")
    known = read_known(
        labeled,
        text_column,
        label_column,
        label_names=label_names,
        descriptions=label_descriptions,
        multi_label=multi_label,
        label_format=label_format,
    )
    described = _read_described(labeled, label_descriptions, known.label_names, method)
    prior = resolve_prior(class_prior, known.targets, multi=known.multi)
    if known.multi and prior is None and labeled is None:
        raise ValueError(
            "Several labels per row and no labeled row: nothing tells how often each label occurs, and so above which "
            "score it is given. Give class_prior, the share of rows that have each label."
        )
    opinions = []
    if annotations is not None:
        opinions = read_for_both(annotations, labeled, unlabeled, known.label_names, known.multi)
    texts = known.texts + read_texts(unlabeled, "unlabeled", text_column)
    belonging = None if labeled is None else read_groups(groups, labeled, len(labeled))
    if warning := passages_warning(known.texts, belonging is not None, "labeled texts"):
        logger.warning("%s", warning)
    coder = get_encoder(encoder, progress=progress)
    cut: list[CutTexts] = []
    # In one call: some encoders are fitted on the very texts that they are given.
    every = unit_rows(
        encode_cached(
            coder,
            texts + ([] if described is None else described.texts),
            cache_dir=cache_dir,
            progress=progress,
            on_cut=cut.append,
        )
    )
    nodes = _nodes(every[: len(texts)], known.targets, coder.name)
    names = _name_vectors(every[len(texts) :], described, nodes, known)
    build = neighbor_graph if hubness is None else partial(hubless_graph, how=hubness)
    graph = build(nodes.vectors, max(k or 0, GRAPH_K), method=neighbors, seed=seed, progress=progress)
    used_prior = None if known.multi and labeled is not None else prior
    problem = Problem(
        nodes.vectors, graph, nodes.targets, nodes.gold, known.multi, used_prior, _of_nodes(belonging, nodes), names
    )
    # With annotators the shares are made to agree at the end, with all evidence in.
    alone = replace(problem, prior=None) if opinions and not known.multi else problem
    soft = soft_labels(alone, method, k, seed=seed, progress=progress)
    report = label_report(problem, soft, known.label_names, _label_rates(known, prior, soft, nodes), described)
    if opinions:
        fused = fuse(soft, problem, nodes, opinions, used_prior, seed)
        soft = fused.soft
        report["annotations"] = fused.to_dict()
        report["summary"] += fused.told("macro F1" if known.multi else "accuracy")
    if labeled is not None and (told := no_sample(labeled)):
        report["summary"].append(told)
    report["cut"] = [part.to_dict() for part in cut]
    return _pseudo_labels(
        nodes,
        problem,
        soft,
        _label_rates(known, prior, soft, nodes),
        label_names=known.label_names,
        method=soft.trial.name + (" with annotators" if opinions else ""),
        encoder=coder.name,
        report=report,
        origin=LabelOrigin.build(known.dataset, text_column, known.targets, nodes, problem, soft.trial),
        _unlabeled=unlabeled,
    )


def _read_described(
    labeled: Dataset | None,
    given: LabelDescriptions | Literal["names"] | None,
    label_names: Sequence[str],
    method: str | GraphFunction,
) -> Descriptions | None:
    """What is said of the labels, None for nothing; refused where the method would not use it."""
    if given is None and labeled is not None:
        return None
    described = read_descriptions("names" if given is None else given, label_names)
    if method != "auto" and not find_method(method).names:
        able = ", ".join(name for name, known in METHODS.items() if known.names)
        raise ValueError(f"method={described_method(method)!r} does not use label names: take {able} or 'auto'.")
    if labeled is None and described.silent:
        codes = ", ".join(map(repr, described.silent))
        raise ValueError(f"labeled=None: the names {codes} are only codes. Say what they mean in label_descriptions.")
    return described


def _name_vectors(vectors: np.ndarray, described: Descriptions | None, nodes: Nodes, known: Known) -> np.ndarray | None:
    """Where the labels point among the nodes, (labels, d); None where nothing is said of them, or nothing known."""
    names = None
    if described is not None and described.texts:
        names = name_vectors(vectors, described.owners, len(known.label_names), nodes.mean)
        names = names if names.any() else None
    if names is None and not len(known.texts):
        raise ValueError("labeled=None: the encoder knows no word of the label names, or cannot tell them apart.")
    silent = [name for i, name in enumerate(known.label_names) if names is None or not names[i].any()]
    for name in (name for name in known.empty if name in silent):
        logger.warning(
            "No labeled row has the label %s%s: no row will get it.",
            name,
            ", nor is its name used" * (described is not None),
        )
    return names


def _label_rates(known: Known, prior: np.ndarray | None, soft: SoftLabels, nodes: Nodes) -> np.ndarray:
    """The share of rows that has each label: as given, else of the labeled rows, else of the labels found."""
    if prior is not None:
        return prior
    return known.targets.mean(0) if len(known.targets) else soft.p[nodes.of].mean(0)


def _of_nodes(groups: np.ndarray | None, nodes: Nodes) -> np.ndarray | None:
    """The group of every node, int64 (nodes,); labeled rows of one node join their groups. -1 for pool rows."""
    if groups is None:
        return None
    own = nodes.of[: len(groups)]
    of_nodes = np.full(len(nodes.first), -1, dtype=np.int64)
    of_nodes[own] = joined(np.unique(own, return_inverse=True)[1], groups)
    return of_nodes


def _nodes(vectors: np.ndarray, targets: np.ndarray, encoder: str) -> Nodes:
    nodes = Nodes.build(vectors, targets)
    if len(nodes.first) < 2:
        raise ValueError(
            f"All {len(vectors)} texts have the same embedding by {encoder}: no neighbourhood can tell them apart. "
            "Look at the text column, or take another encoder."
        )
    if len(targets) and not nodes.gold.any():
        raise ValueError(f"No labelled text has an embedding by {encoder}: are they empty, or of unknown words only?")
    if len(nodes.conflicts):
        shown = ", ".join(map(str, nodes.conflicts[:5].tolist()))
        logger.warning(
            "%d labelled rows (%s, ...) have the text of another one with another label: each counts in part.",
            len(nodes.conflicts),
            shown,
        )
    return nodes


def _pseudo_labels(nodes: Nodes, problem: Problem, soft: SoftLabels, rates: np.ndarray, **about: Any) -> PseudoLabels:
    """From nodes back to the rows of the unlabelled dataset, with calibrated confidences."""
    own = nodes.of[len(nodes.of) - len(about["_unlabeled"]) :]
    hops, p = soft.result.hops[own], soft.p[own]
    gold = problem.targets[problem.gold][soft.trial.rows]
    decide = _decide_cells if problem.multi else _decide_rows
    units = np.arange(len(gold)) if problem.groups is None else problem.groups[problem.gold][soft.trial.rows]
    decided, confidence, margin, coverage, held = decide(soft, own, gold, rates, units)
    given = hops == 0  # a labelled text: its label is given, unless two rows give it different ones
    decided[given] = (p[given] >= 0.5) if problem.multi else p[given].argmax(1)
    confidence[given] = np.maximum(p[given], 1 - p[given]) if problem.multi else p[given].max(1)
    decided[hops < 0], confidence[hops < 0] = -1, 0
    zero = ~np.asarray(nodes.vectors.any(1))[own]
    return PseudoLabels(
        labels=decided,
        confidence=confidence,
        probabilities=p,
        selected=hops >= 0,
        reasons=np.where(hops >= 0, "", np.where(zero, EMPTY, UNREACHED)),
        threshold=0.0,
        margin=margin.astype(np.float32),
        hops=hops,
        coverage=coverage,
        _held_out=held,
        _decided=decided,
        _evidence=_evidence(nodes, problem, soft, own),
        **about,
    )


def _decide_rows(soft: SoftLabels, own: np.ndarray, gold: np.ndarray, rates: np.ndarray, units: np.ndarray) -> tuple:
    """Labels, confidences, margins, the held-out precision curve and held-out labels of single-label rows."""
    p, held_out = soft.p[own], soft.held_out
    # Of a text that was given several labels: how often it was given this one.
    sure, right = held_out.max(1, initial=0), gold[np.arange(len(gold)), held_out.argmax(1)]
    labeled = sure > 0  # abstentions say nothing about those that did not abstain
    calibration = calibrate(sure[labeled], right[labeled])
    best = np.partition(p, -2, axis=1)[:, -2:]
    coverage = precision_coverage(calibration.precision(sure[labeled]), right[labeled])
    coverage = replace(coverage, coverage=coverage.coverage * labeled.sum() / max(len(labeled), 1))
    held = HeldOut(calibration.precision(sure[labeled]), units[labeled])
    return p.argmax(1), calibration.precision(best[:, 1]), best[:, 1] - best[:, 0], coverage, held


def _decide_cells(soft: SoftLabels, own: np.ndarray, gold: np.ndarray, rates: np.ndarray, units: np.ndarray) -> tuple:
    """The same of multi-label cells; a label is given where the vote is above the cut that gives it its rate."""
    votes, hidden = soft.result.p[own], soft.trial.p
    known = soft.result.hops[own] >= 0
    cuts = prior_thresholds(votes[known], rates) if known.any() else np.ones_like(rates)
    given, chance = votes >= cuts, soft.p[own]
    # Nearly all cells are rightly empty: the curve is that of the labels that would be given.
    shown = hidden >= (prior_thresholds(hidden, rates) if len(hidden) else cuts)
    coverage = precision_coverage(soft.held_out[shown], gold[shown])
    held = HeldOut(soft.held_out[shown], units[np.nonzero(shown)[0]])
    return given.astype(np.int8), np.where(given, chance, 1 - chance), np.abs(votes - cuts).min(1), coverage, held


def _evidence(nodes: Nodes, problem: Problem, soft: SoftLabels, own: np.ndarray) -> Evidence:
    """The nearest rows that voted; where there are no votes, the nearest labelled rows."""
    order, hops = soft.result.order, soft.result.hops[own]
    graph = problem.graph.first(min(soft.trial.k or 1, problem.graph.k)) if problem.graph.k else problem.graph
    ids, sims = graph.ids[own], graph.sims[own]
    voted = (ids >= 0) & (order[ids] >= 0) & (order[ids] < order[own][:, None])
    if function_name(soft.trial.method) in WITHOUT_VOTES:
        voted[:] = False
    chosen = np.argsort(np.where(voted, -sims, 2), axis=1, kind="stable")[:, :EVIDENCE_ROWS]
    ids = _padded(np.where(np.take_along_axis(voted, chosen, 1), np.take_along_axis(ids, chosen, 1), -1), -1)
    sims = _padded(np.where(ids[:, : chosen.shape[1]] >= 0, np.take_along_axis(sims, chosen, 1), 0), 0)
    alone = np.flatnonzero((ids < 0).all(1) & (hops >= 0))
    gold = np.flatnonzero(problem.gold)
    if len(gold):
        near, similarity = search(nodes.vectors[own[alone]], nodes.vectors[gold], EVIDENCE_ROWS, progress=False)
        ids[alone], sims[alone] = np.where(near >= 0, gold[near], -1), similarity
    return Evidence(np.where(ids >= 0, nodes.first[ids], -1), sims, len(nodes.of) - len(own))


def _padded(values: np.ndarray, blank: int) -> np.ndarray:
    return np.pad(values, ((0, 0), (0, EVIDENCE_ROWS - values.shape[1])), constant_values=blank)
