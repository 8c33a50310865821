"""Latent semantic analysis (Deerwester et al. 1990): vectors from the texts alone, no model and no download."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils.extmath import randomized_svd

from textpl.embeddings.encoder_checks import checked_texts
from textpl.progress import progress_bar

# Vocabulary and SVD are fitted on at most this many rows (drawn with a fixed seed), which bounds time and memory.
FIT_ROWS = 30_000
FEATURES = 50_000  # of words and of characters each, the most frequent ones
BLOCK = 10_000


class LsaEncoder:
    """TF-IDF of words (1-2 grams) and of characters (1-4 grams within words), reduced by a truncated SVD.

    Character n-grams carry languages that write no spaces, such as Chinese: there a "word" is a whole clause.

    The encoder is fitted on the very texts it encodes: vectors from two calls do not compare, so encode labelled and
    pool rows together, in one call. Therefore nothing is cached either.

    Args:
        dimensions: length of a vector.
    """

    name = "lsa"

    def __init__(self, dimensions: int = 256) -> None:
        self.dimensions = dimensions

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        """Vectors of length 1, float32 (n, dimensions).

        Texts that share no feature with the others, empty ones among them, are zero vectors. Small corpora span fewer
        directions than `dimensions`: the columns that are left over are zero.

        Raises:
            TypeError: if a text is not a string; the row is named.
        """
        texts = checked_texts(texts)
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        fitted = texts
        if len(texts) > FIT_ROWS:
            drawn = np.random.default_rng(0).choice(len(texts), FIT_ROWS, replace=False)
            fitted = [texts[row] for row in np.sort(drawn)]
        parts = [(v, matrix) for v in _vectorizers() if (matrix := _fit(v, fitted)) is not None]
        if not parts:
            return vectors
        features = sparse.hstack([matrix for _, matrix in parts], format="csr")
        _, _, directions = randomized_svd(features, min(self.dimensions, *features.shape), n_iter=5, random_state=0)
        for start in progress_bar(range(0, len(texts), BLOCK), desc="encoding with lsa", shown=progress):
            rows = slice(start, start + BLOCK)
            if fitted is texts:
                block = features[rows]
            else:
                block = sparse.hstack([v.transform(texts[rows]) for v, _ in parts], format="csr")
            vectors[rows, : len(directions)] = block @ directions.T
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        # Rounding leaves a direction even where nothing of a text is in the space.
        return np.where(norms > 1e-5, vectors / np.maximum(norms, 1e-5), np.float32(0))


def _vectorizers() -> list[TfidfVectorizer]:
    shared = {"max_features": FEATURES, "sublinear_tf": True, "dtype": np.float32}
    return [
        TfidfVectorizer(analyzer="word", ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **shared),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), **shared),
    ]


def _fit(vectorizer: TfidfVectorizer, texts: list[str]) -> sparse.spmatrix | None:
    try:
        return vectorizer.fit_transform(texts)
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        return None  # no text holds a word, as with "!!!", or nothing but spaces
