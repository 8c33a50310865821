"""A classifier that stays: what `textpl.label` found in a pool, kept so that it labels texts that come later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textpl.atomic_files import read_json, replacing_all
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.centering import centered_rows, common_part
from textpl.embeddings.encoders import FITTED_ON_CALL, Encoder, get_encoder
from textpl.embeddings.neighbors import search, unit_rows
from textpl.evaluation import prior_thresholds

if TYPE_CHECKING:
    from textpl.pseudo_labels import PseudoLabels

# Neighbors that vote, and the power of their cosine: those of the graph on which the pool was labeled.
K, GAMMA = 15, 3.0
# Pool rows that are kept at most: half a kilobyte to two each, and every new text is compared with all of them.
MOST_ROWS = 100_000
FORMAT = 1
WORDS, ARRAYS, DIGEST = "classifier.json", "classifier.npz", "arrays_sha256"
REMEDY = "Save the classifier again."


@dataclass(frozen=True)
class EmbeddingClassifier:
    """Label new texts as a pool was labeled: the pool rows nearest to a text vote with their soft labels.

    A labeled pool is a finer model than a linear head fitted to it: on AG News (40 labels, MiniLM) the vote labels test
    texts as well as the pool itself was labeled, the head is a point worse (`benchmarks/embedding_classifier.py`).

    When to use: labels from embeddings are good enough, and texts keep coming. For millions of texts fine-tune a model
    on `found.to_dataset()` instead.

    Attributes:
        vectors: float16 (rows, d), the rows that vote, centered and of length 1.
        soft_labels: float32 (rows, labels), what they vote for.
        mean: float64 (d,), what was taken away from the embeddings.
        cuts: float64 (labels,), least vote for which a label is given; None for single-label.
        label_names: name of every label; position is id.
        about: `encoder` (its name), `fingerprint`, `method` and `rows_left_out`, plain data.

    Example:
        >>> import textpl
        >>> found = textpl.label(labeled, pool)  # doctest: +SKIP
        >>> classifier = textpl.EmbeddingClassifier.fit(found)  # doctest: +SKIP
        >>> classifier.save("topics")  # doctest: +SKIP
        >>> textpl.EmbeddingClassifier.load("topics").predict(["Shares fell again on Monday."])  # doctest: +SKIP
        array([2])
    """

    vectors: np.ndarray = field(repr=False)
    soft_labels: np.ndarray = field(repr=False)
    mean: np.ndarray = field(repr=False)
    cuts: np.ndarray | None = field(repr=False)
    label_names: tuple[str, ...]
    about: dict[str, Any]
    _coder: Encoder = field(repr=False)

    @classmethod
    def fit(
        cls,
        found: PseudoLabels,
        *,
        encoder: str | Encoder | Any = None,
        max_rows: int = MOST_ROWS,
        cache_dir: str | Path | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> EmbeddingClassifier:
        """Keep the labeled rows and the pool rows that have a label.

        Args:
            found: what `textpl.label` gave; its soft labels vote, whatever its threshold.
            encoder: the one that `found` was made with; to be given where that was an object, not a name.
            max_rows: pool rows to keep at most, drawn at random; labeled rows are all kept.
            cache_dir: folder of cached embeddings, as in `textpl.label`.
            seed: of that draw.
            progress: show progress bars.

        Raises:
            ValueError: for LSA and joined encoders, which have no vector for a text that comes alone; if another
                encoder is given than `found` was made with; if no pool row has a label.
        """
        coder = single_text_encoder(found.encoder if encoder is None else encoder, progress=progress)
        if coder.name != found.encoder:
            raise ValueError(
                f"The labels were found with the encoder {found.encoder!r}, not with {coder.name!r}: give that one."
            )
        pool = found.texts()
        known = found.origin.labeled.with_format(None)[found.origin.text_column][:]
        kept = np.flatnonzero(found.hops >= 0)
        if not len(kept):
            raise ValueError("No row of the pool has a label: there is nothing that could vote.")
        if left_out := max(len(kept) - max_rows, 0):
            kept = np.sort(np.random.default_rng(seed).choice(kept, max_rows, replace=False))
        texts = [*known, *(pool[row] for row in kept)]
        units = unit_rows(encode_cached(coder, texts, cache_dir=cache_dir, progress=progress))
        mean = common_part(units)
        soft = np.concatenate([found.origin.targets, found.probabilities[kept]]).astype(np.float32)
        vectors = centered_rows(units, mean).astype(np.float16)
        about = {
            "encoder": coder.name,
            "fingerprint": getattr(coder, "fingerprint", None),
            "method": found.method,
            "rows_left_out": left_out,
        }
        cuts = None
        if found.multi:
            among = votes(vectors, vectors, soft, exclude=True, progress=progress)[len(known) :]
            cuts = prior_thresholds(among, (found.rethreshold(0.0).labels[kept] == 1).mean(0))
        return cls(vectors, soft, mean, cuts, tuple(found.label_names), about, coder)

    @property
    def multi(self) -> bool:
        """Whether rows may carry several labels."""
        return self.cuts is not None

    def predict_proba(
        self, texts: Sequence[str], *, cache_dir: str | Path | None = None, progress: bool = False
    ) -> np.ndarray:
        """Return the soft labels of new texts, float32 (texts, labels); zeros where nothing is near (an empty text).

        Args:
            texts: (texts,).
            cache_dir: folder of cached embeddings, as in `textpl.label`.
            progress: show progress bars.

        Raises:
            ValueError: if the encoder gives vectors of another length than those of the classifier.
        """
        units = unit_rows(encode_cached(self._coder, list(texts), cache_dir=cache_dir, progress=progress))
        if not len(units):
            return np.zeros((0, len(self.label_names)), np.float32)
        if units.shape[1] != len(self.mean):
            raise ValueError(
                f"The encoder {self._coder.name!r} gives vectors of length {units.shape[1]}, those of the classifier "
                f"have {len(self.mean)}: it is another one, or has changed since the classifier was fitted."
            )
        return votes(centered_rows(units, self.mean), self.vectors, self.soft_labels, progress=progress)

    def predict(
        self, texts: Sequence[str], *, cache_dir: str | Path | None = None, progress: bool = False
    ) -> np.ndarray:
        """Return labels of new texts: ids int64 (texts,), -1 where nothing is near; multi: int8 (texts, labels)."""
        return self.decide(self.predict_proba(texts, cache_dir=cache_dir, progress=progress))

    def decide(self, p: np.ndarray) -> np.ndarray:
        """Labels from soft labels (texts, labels), as `predict` gives them."""
        if self.cuts is not None:
            return np.asarray((p >= self.cuts) & p.any(1, keepdims=True)).astype(np.int8)
        return np.where(p.any(1), p.argmax(1), -1).astype(np.int64)

    def save(self, folder: str | Path) -> None:
        """Write the classifier as two files, overwriting one that is there: both, or after an error neither.

        The texts are not in them. The encoder is written down by its name: keep a folder where it lies.

        Raises:
            OSError: as the writing does.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {"vectors": self.vectors, "soft_labels": self.soft_labels, "mean": self.mean}
        arrays |= {} if self.cuts is None else {"cuts": self.cuts}
        with replacing_all([folder / ARRAYS, folder / WORDS]) as (numbers, words):
            with numbers.open("wb") as file:
                np.savez(file, **arrays)
            digest = hashlib.sha256(numbers.read_bytes()).hexdigest()
            told = {"format": FORMAT, "label_names": self.label_names, **self.about, DIGEST: digest}
            words.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(
        cls, folder: str | Path, *, encoder: str | Encoder | Any = None, progress: bool = True
    ) -> EmbeddingClassifier:
        """Read what `save` wrote.

        Args:
            folder: where.
            encoder: instead of the one by the saved name: the same model in another place, or an object.
            progress: let the libraries that load a model show their bars.

        Raises:
            FileNotFoundError: if there is no classifier in the folder.
            ValueError: for files that are broken, of another format or not of one save, or an encoder with other
                weights or settings than the one it was fitted with.
            OSError: if the encoder cannot be loaded.
        """
        folder = Path(folder)
        if not (folder / WORDS).is_file():
            raise FileNotFoundError(f"{folder} holds no {WORDS}: give a folder that EmbeddingClassifier.save wrote.")
        told = read_json(folder / WORDS, REMEDY)
        if not isinstance(told, dict) or told.pop("format", None) != FORMAT:
            raise ValueError(f"{folder / WORDS} is of another format than {FORMAT}: {REMEDY}")
        if missing := {"encoder", "fingerprint", "label_names", DIGEST} - set(told):
            raise ValueError(f"{folder / WORDS} lacks {', '.join(sorted(missing))}: {REMEDY}")
        if not (folder / ARRAYS).is_file():
            raise FileNotFoundError(f"{folder / ARRAYS} is missing: copy it from where it was saved. {REMEDY}")
        if hashlib.sha256((folder / ARRAYS).read_bytes()).hexdigest() != told.pop(DIGEST):
            raise ValueError(f"{folder / ARRAYS} does not belong to {WORDS}, or is broken. {REMEDY}")
        with np.load(folder / ARRAYS, allow_pickle=False) as stored:
            arrays = dict(stored)
        coder = single_text_encoder(told["encoder"] if encoder is None else encoder, progress=progress)
        same = told["fingerprint"] == (now := getattr(coder, "fingerprint", None))
        if not same or (now is None and coder.name != told["encoder"]):  # without a fingerprint the name has to tell
            raise ValueError(
                f"The encoder {coder.name!r} has other weights or settings than the one this classifier was fitted "
                f"with ({told['encoder']!r}): its vectors would mean something else. Give that one, or fit again."
            )
        names = tuple(told.pop("label_names"))
        return cls(arrays["vectors"], arrays["soft_labels"], arrays["mean"], arrays.get("cuts"), names, told, coder)


def single_text_encoder(encoder: Any, *, progress: bool = True) -> Encoder:
    """Load an encoder whose vector of a text does not depend on the texts beside it.

    Args:
        encoder: see `textpl.embeddings.encoders.get_encoder`.
        progress: let the libraries that load a model show their bars.

    Raises:
        OSError: if it cannot be loaded.
        ValueError: for "lsa" and joined encoders.
    """
    coder = get_encoder(encoder, progress=progress)
    if isinstance(coder, FITTED_ON_CALL):
        raise ValueError(
            f"The encoder {coder.name!r} has no vector for a text that comes alone, as all texts of a call make it "
            "together: label the pool with one sentence encoder, or fine-tune a model on found.to_dataset()."
        )
    return coder


def votes(
    queries: np.ndarray, vectors: np.ndarray, soft: np.ndarray, *, exclude: bool = False, progress: bool = True
) -> np.ndarray:
    """Mean soft label of the K nearest rows, weighted by max(cos, 0)^GAMMA; zeros where none is near.

    Args:
        queries: (q, d), length 1 or 0; with `exclude` the rows themselves, none of which votes for itself.
        vectors: (n, d), length 1 or 0.
        soft: float32 (n, labels).
        exclude: leave row i out of the votes on query i.
        progress: show a progress bar.

    Returns:
        float32 (q, labels).
    """
    base, asked = vectors.astype(np.float32), queries.astype(np.float32)
    ids, sims = search(asked, base, K + exclude, progress=progress, description="comparing with the pool")
    weights = np.where(ids >= 0, np.maximum(sims, 0) ** GAMMA, 0)
    if exclude:
        weights[ids == np.arange(len(ids))[:, None]] = 0
    mass = weights.sum(1, keepdims=True)
    sums = np.einsum("qk,qkl->ql", weights, soft[np.maximum(ids, 0)], dtype=np.float64)
    return np.divide(sums, mass, out=np.zeros_like(sums), where=mass > 0).astype(np.float32)
