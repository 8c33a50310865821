"""Find the labels of a corpus that are wrong or missing: columns or arrays in, `LabelReport` out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from datasets import Dataset

from textpl.annotations.annotation import Annotation
from textpl.annotations.reading import read_annotations
from textpl.cleaning import multi_label, single_label
from textpl.cleaning.agreement import check_order, detect_beside_conflicts
from textpl.cleaning.apart import Detect, Evidence
from textpl.cleaning.confident import detect_confident
from textpl.cleaning.indistinct import detect_without, indistinct_rows
from textpl.cleaning.noise_model import Noise, check_noise
from textpl.cleaning.opinions import with_opinions
from textpl.cleaning.out_of_sample import FOLDS, out_of_sample
from textpl.cleaning.problems import CorpusProblems, corpus_problems
from textpl.cleaning.result import Detection
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.cut_texts import CutTexts
from textpl.embeddings.encoders import DEFAULT_ENCODER, FITTED_ON_CALL, Encoder, get_encoder
from textpl.embeddings.graph import NeighborGraph
from textpl.embeddings.mapped import mapped_rows, principal_components
from textpl.embeddings.neighbors import neighbor_graph, unit_rows
from textpl.label_issues.groups import kept_apart
from textpl.label_issues.inputs import column_texts, given_labels
from textpl.label_issues.report import LabelReport
from textpl.reading.label_arrays import check_probabilities
from textpl.reading.label_format import LabelFormat
from textpl.reading.labeled_rows import text_fingerprint

logger = logging.getLogger(__name__)

EVIDENCE_ROWS = 5  # neighbours kept per row, to be shown


def find_label_issues(
    dataset: Dataset | None = None,
    *,
    labels: Any = None,
    pred_probs: Any = None,
    embeddings: np.ndarray | None = None,
    encoder: str | Encoder | Any | None = DEFAULT_ENCODER,
    text_column: str = "text",
    label_column: str = "label",
    label_names: list[str] | None = None,
    label_format: LabelFormat | None = None,
    method: Literal["auto", "confident"] = "auto",
    noise: Noise = "auto",
    context: bool = True,
    annotations: Any = None,
    groups: Any = None,
    test: Dataset | None = None,
    folds: int = FOLDS,
    neighbors: Literal["auto", "exact", "approximate"] = "auto",
    cache_dir: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> LabelReport:
    """Find labels that are wrong, labels that are missing, and what each should be.

    Give a dataset, and texts are encoded, probabilities are predicted out of sample (duplicates never on both sides),
    and neighbours are looked up. Or bring any of it: `labels`, `pred_probs`, `embeddings`.

    Args:
        dataset: rows with a text and a label column (ids, names, lists of either, multi-hot).
        labels: instead of the label column: multi-hot (rows, labels), a scipy sparse matrix, lists of ids or names, or
            one id or name per row.
        pred_probs: (rows, labels), probabilities by a model that did not see the row in training; of a DataFrame the
            headings name the labels, in any order.
        embeddings: (rows, d), instead of encoding the texts.
        encoder: sentence-transformers id, folder or model, "lsa" (needs no download, any language), an object with
            `name` and `encode(texts, *, progress=True)`; None goes without embeddings (needs `pred_probs`).
        text_column: name of the text column.
        label_column: name of the label column.
        label_names: name of every label, in the order of the ids and of the columns of an array `pred_probs`; needed
            with that where labels are names and the column declares no order.
        label_format: how labels are written, where that is not to be found out: a delimiter, what stands for no label.
        method: "auto" is ours; "confident" is confident learning as cleanlab has it (`pip install textpl[cleanlab]`).
        noise: multi-label: what is known about the errors: "missing" (labels are missing, none was added), "spurious"
            (some were added, none is missing), "swap" (one was taken for another), or "auto".
        context: multi-label: weigh all evidence, the row's other labels included. False takes the probabilities as they
            are, for very many labels: a tenth of the time and memory, and worse.
        annotations: what others say about the rows (a language model, rules, another tool): a column of the dataset,
            several, or a dict of a name to a column or to one answer per row; see
            `textpl.annotations.reading.read_annotations` and `textpl.annotate`. How far each can be trusted is
            estimated, and anew from the cells that people review; one that repeats the given labels proves nothing.
        groups: what belongs together, such as the windows of one document or the texts of one author: a column of the
            dataset, or a name or number for every row. Rows of a group never judge each other.
        test: rows to be looked for among those of `dataset`: leaks.
        folds: of the out-of-sample probabilities.
        neighbors: exact or approximate search; "auto" is exact for corpora that allow it.
        cache_dir: folder of cached embeddings; default: beside the datasets cache.
        seed: of folds and approximate search.
        progress: show progress bars.

    Returns:
        LabelReport.

    Raises:
        ValueError: nothing to learn from, shapes that do not fit, probabilities that are none, missing labels or texts
            (the row is named), fewer than two distinct texts, an unknown method or noise.
        ImportError: "confident" without cleanlab.

    Example:
        >>> import numpy as np, textpl
        >>> p = np.array([[0.99, 0.01], [0.02, 0.98]] * 100)  # by a model that did not see the rows
        >>> labels = ["no", "yes"] * 100
        >>> labels[4] = "yes"
        >>> report = textpl.find_label_issues(labels=labels, pred_probs=p, label_names=["no", "yes"])
        >>> worst = report.cells[0]
        >>> worst["row"], worst["given"], worst["suggested"]
        (4, 'yes', 'no')
    """
    if method not in ("auto", "confident"):
        raise ValueError(f"method={method!r}: use 'auto' or 'confident'.")
    check_noise(noise)
    if dataset is None and labels is None:
        raise ValueError("Give a dataset with a label column, or labels.")
    given, names, pred_probs = given_labels(dataset, labels, label_column, label_names, pred_probs, label_format)
    said = _read_opinions(annotations, dataset, names, given, method)
    texts = None if dataset is None else column_texts(dataset, text_column)
    p = None if pred_probs is None else check_probabilities(pred_probs, given)
    cut: list[CutTexts] = []
    vectors, name = _vectors(texts, embeddings, encoder, len(given), p is not None, cache_dir, progress, cut.append)
    build = partial(neighbor_graph, method=neighbors, seed=seed, progress=progress)
    apart = kept_apart(groups, dataset, texts, vectors, len(given), build)
    graph, duplicates = apart.graph, apart.duplicates
    source = "given"
    if p is None:
        assert apart.centered is not None
        if given.ndim == 1 and np.bincount(given).max() == 1:
            raise ValueError("Every label is given once, so no row tells anything about another: give pred_probs.")
        source = f"logistic regression on {name}, {folds} folds"
        p = out_of_sample(
            apart.centered, given, num_labels=len(names), groups=apart.groups, folds=folds, seed=seed, progress=progress
        )
    unjudged = None
    if texts is not None and graph is not None and duplicates is not None and method != "confident":
        unjudged = indistinct_rows(graph, duplicates)
    if source == "given" and given.ndim == 1 and method != "confident":
        check_order(given, p, names)
    evidence = Evidence(given, p, apart.voters, apart.centered, apart.groups)
    detect = _detector(given, method, noise, context, seed, progress, own=source != "given")
    found = detect_without(detect, evidence, unjudged)
    known = None if embeddings is not None else encoder  # vectors of another encoder cannot be compared
    if said:
        found = with_opinions(found, given, said)
    problems = _problems(texts, given, p, vectors, graph, duplicates, names, test, text_column, known, cache_dir, *cut)
    about = {"method": method, "encoder": name, "probabilities": source, "seed": seed}
    if said:
        about["annotators"] = [a.told() for a in said]
    if dataset is not None:
        about["texts"] = text_fingerprint(dataset, text_column)
    return LabelReport(
        found,
        given,
        names,
        dataset,
        text_column if dataset is not None else None,
        label_column if labels is None else None,
        None if apart.voters is None else apart.voters.ids[:, :EVIDENCE_ROWS],
        problems,
        None if dataset is None or dataset.split is None else str(dataset.split),
        about,
        None if vectors is None else principal_components(vectors[mapped_rows(len(vectors))]).astype(np.float16),
    )


def _read_opinions(
    annotations: Any, dataset: Dataset | None, names: Sequence[str], given: np.ndarray, method: str
) -> list[Annotation]:
    """What annotators say; what could not be used is logged."""
    if annotations is None:
        return []
    if method == "confident":
        raise ValueError("annotations need method='auto': the scores of 'confident' are no probabilities to add to.")
    said = read_annotations(annotations, dataset, names, multi=given.ndim == 2, rows=len(given))
    for a in said:
        if a.outside:
            logger.warning("%s", a.told())
    return said


def _vectors(
    texts: list[str] | None,
    embeddings: np.ndarray | None,
    encoder: Any,
    rows: int,
    optional: bool,
    cache_dir: str | Path | None,
    progress: bool,
    on_cut: Callable[[CutTexts], None],
) -> tuple[np.ndarray | None, str]:
    """Unit vectors and their encoder's name; None where nothing is there to encode and nothing needs it."""
    if embeddings is not None:
        if len(embeddings) != rows:
            raise ValueError(f"embeddings of {len(embeddings)} rows, labels of {rows}: they must agree.")
        return unit_rows(np.asarray(embeddings)), "given embeddings"
    if texts is None or encoder is None:
        if not optional:
            raise ValueError("Give a dataset with texts and an encoder, embeddings, or pred_probs.")
        return None, "none"
    coder = get_encoder(encoder, progress=progress)
    return unit_rows(encode_cached(coder, texts, cache_dir=cache_dir, progress=progress, on_cut=on_cut)), coder.name


def _detector(
    given: np.ndarray, method: str, noise: Noise, context: bool, seed: int, progress: bool, *, own: bool
) -> Detect:
    """What judges the rows; `own`, that the probabilities are ours and not the user's, whose order is not sure."""
    if given.ndim == 1 and noise != "auto" and method != "confident":
        raise ValueError(f"noise={noise!r} is for multi-label data: with one label per row every error is a swap.")

    def confident(rows: Evidence) -> Detection:
        return detect_confident(rows.given, rows.p)

    def cells(rows: Evidence) -> Detection:
        return multi_label.detect(
            rows.given, rows.p, rows.graph, noise=noise, context=context, groups=rows.groups, seed=seed
        )

    def single(rows: Evidence) -> Detection:
        return single_label.detect(
            rows.given, rows.p, rows.graph, rows.vectors, groups=rows.groups, seed=seed, progress=progress
        )

    if method == "confident":
        return confident
    if given.ndim == 2:
        return cells
    return single if own else partial(detect_beside_conflicts, single)


def _problems(
    texts: list[str] | None,
    given: np.ndarray,
    p: np.ndarray,
    vectors: np.ndarray | None,
    graph: NeighborGraph | None,
    groups: np.ndarray | None,
    names: tuple[str, ...],
    test: Dataset | None,
    column: str,
    encoder: Any,
    cache_dir: str | Path | None,
    cut: CutTexts | None = None,
) -> CorpusProblems:
    if texts is None and test is not None:
        raise ValueError("test: leaks are looked for by text, so a dataset is needed.")
    test_texts = None if test is None else column_texts(test, column, "test")
    test_vectors = None
    if test_texts is not None and vectors is not None and encoder is not None:
        coder = get_encoder(encoder, progress=False)
        known = texts if texts is not None and isinstance(coder, FITTED_ON_CALL) else []
        found = unit_rows(encode_cached(coder, [*known, *test_texts], cache_dir=cache_dir, progress=False))
        vectors, test_vectors = (found[: len(known)] if known else vectors), found[len(known) :]
    return corpus_problems(
        texts, given, p, vectors, graph, names, groups=groups, test_texts=test_texts, test_vectors=test_vectors, cut=cut
    )
