"""Encoders: texts in, one vector each out, under a name that is written into every result."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from textpl.embeddings.encoder_candidates import DEFAULT_ENCODER as DEFAULT_ENCODER
from textpl.embeddings.encoder_candidates import JOIN, told_loadable
from textpl.embeddings.encoder_checks import checked_texts
from textpl.embeddings.encoder_fingerprint import module_fingerprint
from textpl.embeddings.encoder_prompts import prompt_for
from textpl.embeddings.joined import JoinedEncoder
from textpl.embeddings.lsa import LsaEncoder
from textpl.inference import bf16_pays, longest_input, pad
from textpl.models import OFFLINE_PACKAGES, resolve_model
from textpl.progress import progress_bar, quiet_loading

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Some tokenizers state no limit; attention over more tokens than this is no longer an embedding of a text.
LONGEST_ROW = 8192
# Their vectors depend on all texts of a call: those of two calls do not compare.
FITTED_ON_CALL = (LsaEncoder, JoinedEncoder)


@runtime_checkable
class Encoder(Protocol):
    """Anything with a name and an `encode`.

    An encoder may also have a `fingerprint`: a string that is the same for the same vectors, under which
    `encode_cached` keeps them on disk. Without one, or with None, nothing is cached. Of an encoder with a `tokenizer`
    and a `token_limit` it says which texts are cut.

    Attributes:
        name: written into every result.
    """

    name: str

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        """Vectors of some texts, float32 (n, d)."""
        ...


def get_encoder(encoder: Any, *, progress: bool = True) -> Encoder:
    """The encoder that a user means.

    Args:
        encoder: "lsa", a sentence-transformers id or folder, a loaded `SentenceTransformer`, an `Encoder`, or several
            of these to be joined: a list, or names in one string, "NAME + NAME" (see `textpl.embeddings.joined`).
        progress: let the libraries that load a model show their bars.

    Raises:
        OSError: if an id or folder cannot be loaded.
        TypeError: for anything else.
    """
    if isinstance(encoder, str) and JOIN in encoder and not Path(encoder).exists():
        encoder = [name.strip() for name in encoder.split(JOIN)]
    if isinstance(encoder, (list, tuple)) and encoder:
        return JoinedEncoder([get_encoder(one, progress=progress) for one in encoder])
    if isinstance(encoder, str) and encoder == "lsa":
        return LsaEncoder()
    if isinstance(encoder, (str, Path)) or _is_sentence_transformer(encoder):
        with contextlib.nullcontext() if progress else quiet_loading():
            return SentenceEncoder(str(encoder) if isinstance(encoder, Path) else encoder)
    if isinstance(encoder, Encoder) and not isinstance(encoder, type):
        return encoder
    raise TypeError(
        f"encoder is a {type(encoder).__name__}. Accepted: 'lsa'; the id or folder of a sentence-transformers model; a "
        "loaded SentenceTransformer; ClassifierEncoder(model, tokenizer) around a transformers classifier; any object "
        "with a `name` and `encode(texts, *, progress) -> (n, d) array`; a list of these, to be joined."
    )


class SentenceEncoder:
    """A sentence-transformers model, in bfloat16 where the hardware computes in it.

    Args:
        model: id, folder or loaded model. An id with an installed offline package is loaded from it, unless
            another revision is asked for.
        revision: branch, tag or commit on the Hub.
        batch_size: texts per forward pass.
        max_length: tokens per text, at most what the model takes; None for the model's own limit.
        prompt: what is put in front of every text; "" for nothing. None for what the model's configuration says, else
            what its authors ask for (`textpl.embeddings.encoder_prompts`), such as "query: " of the E5 models.

    Raises:
        OSError: if the model can be had neither from a folder, nor an installed package, nor the Hub.
        ValueError: if a revision is given for a loaded model.
    """

    def __init__(
        self,
        model: str | SentenceTransformer,
        *,
        revision: str | None = None,
        batch_size: int = 64,
        max_length: int | None = None,
        prompt: str | None = None,
    ) -> None:
        if not isinstance(model, str) and revision is not None:
            raise ValueError(f"revision={revision!r} is for ids; this SentenceTransformer is already loaded.")
        self.model: Any = _load_sentence_transformer(model, revision) if isinstance(model, str) else model
        loaded_from = getattr(self.model.transformers_model, "name_or_path", "") or type(self.model).__name__
        self.name = model if isinstance(model, str) else _public_name(loaded_from)
        self.revision, self.batch_size, self.max_length = revision, batch_size, max_length
        known = prompt_for(self.name, self.model.prompts, self.model.default_prompt_name)
        self.prompt = known if prompt is None else prompt
        if max_length is not None and getattr(self.model.config, "max_position_embeddings", None):
            self.max_length = min(max_length, longest_input(None, self.model.config))

    @property
    def tokenizer(self) -> Any:
        """The model's own."""
        return self.model.tokenizer

    @property
    def token_limit(self) -> int | None:
        """Tokens of a text that are read, special ones among them; None where the model states no limit."""
        limits = [limit for limit in (self.model.max_seq_length, self.max_length) if limit is not None]
        return min(limits, default=None)

    @property
    def fingerprint(self) -> str | None:
        """Hash of what decides the vectors, of the weights as they are now (id and revision may hide a change)."""
        model = self.model
        settings = (repr(model), model.max_seq_length, self.max_length, model.prompts, model.default_prompt_name)
        loaded: tuple[object, ...] = (model.truncate_dim, bf16_pays(model.device))
        if self.prompt is not None:  # else as it was before there were prompts: what is cached stays found
            loaded = (*loaded, self.prompt)
        # A pooling module averages the tokens (or takes the first); BERT's own pooler, where there is one, is idle.
        idle = "pooler" if any(type(module).__name__ == "Pooling" for module in model) else None
        return module_fingerprint(model, model.tokenizer, *settings, *loaded, unused=idle)

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        """Vectors of some texts, longest first, float32 (n, d).

        Raises:
            TypeError: if a text is not a string; the row is named.
        """
        texts = checked_texts(texts)
        if not texts:
            return np.zeros((0, self.model.get_embedding_dimension() or 0), np.float32)
        settings: dict[str, Any] = {} if self.prompt is None else {"prompt": self.prompt}
        if self.max_length is not None:
            settings["processing_kwargs"] = {"text": {"max_length": self.max_length, "truncation": True}}
        with _evaluating(self.model, self.model.device):
            vectors = self.model.encode(texts, batch_size=self.batch_size, show_progress_bar=progress, **settings)
        return np.asarray(vectors, dtype=np.float32)


class ClassifierEncoder:
    """The hidden states of a transformers classifier's base model: how a fine-tuned model sees the texts.

    Args:
        model: a sequence-classification model with a `base_model`; on the device it is on.
        tokenizer: its tokenizer.
        pooling: "mean" over the tokens of a text, or "cls", its first token.
        batch_size: texts per forward pass.
        max_length: tokens per text, at most what the model takes; None for that limit.

    Raises:
        ValueError: for another pooling.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        pooling: Literal["mean", "cls"] = "mean",
        batch_size: int = 64,
        max_length: int | None = None,
    ) -> None:
        if pooling not in ("mean", "cls"):
            raise ValueError(f"pooling={pooling!r}: choose 'mean' or 'cls'.")
        self.model, self.tokenizer, self.pooling, self.batch_size = model, tokenizer, pooling, batch_size
        self.max_length = min(max_length or LONGEST_ROW, longest_input(tokenizer, model.config), LONGEST_ROW)
        self.name = f"{_public_name(model.name_or_path) or type(model).__name__} ({pooling} of {type(model).__name__})"

    @property
    def token_limit(self) -> int:
        """Tokens of a text that are read, special ones among them."""
        return self.max_length

    @property
    def fingerprint(self) -> str | None:
        """Hash of the base model's weights as they are now, the tokenizer and the settings."""
        settings = (type(self.model).__name__, self.model.config.to_json_string(), self.pooling, self.max_length)
        return module_fingerprint(self.model.base_model, self.tokenizer, *settings, bf16_pays(self.model.device))

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        """Vectors of some texts, longest first, float32 (n, hidden size).

        Raises:
            TypeError: if a text is not a string (the row is named), or the base model gives no hidden states.
        """
        texts = checked_texts(texts)
        if not texts:
            return np.zeros((0, self.model.config.hidden_size), np.float32)
        ids = self.tokenizer(texts, truncation=True, max_length=self.max_length, padding=False)["input_ids"]
        lengths = np.fromiter((len(row) for row in ids), dtype=np.int64, count=len(ids))
        return self.encode_tokens(len(ids), lambda rows: [ids[row] for row in rows], lengths, progress=progress)

    def encode_tokens(
        self, rows: int, read: Callable[[np.ndarray], Sequence[Any]], lengths: np.ndarray, *, progress: bool = True
    ) -> np.ndarray:
        """Vectors of token sequences, longest first (memory runs out at once or never).

        Args:
            rows: number of sequences.
            read: `read(indices) -> token id lists` of those rows, no longer than the model takes.
            lengths: number of tokens of each row, shape (rows,).
            progress: whether to show a progress bar.

        Returns:
            float32 array of shape (rows, hidden size); zeros for rows without tokens.

        Raises:
            TypeError: if the base model gives no hidden states.
        """
        vectors = np.zeros((rows, self.model.config.hidden_size), np.float32)
        device = self.model.device
        pad_id = getattr(self.tokenizer, "pad_token_id", None) or 0  # masked out, so that any id does
        order = np.argsort(-np.asarray(lengths), kind="stable")[: np.count_nonzero(lengths)]
        with torch.no_grad(), _evaluating(self.model, device):
            for start in progress_bar(range(0, len(order), self.batch_size), desc="encoding", shown=progress):
                chunk = order[start : start + self.batch_size]
                inputs = {name: tensor.to(device) for name, tensor in pad(read(chunk), pad_id).items()}
                vectors[chunk] = self._pooled(inputs).cpu().numpy()
        return vectors

    def _pooled(self, inputs: dict[str, Tensor]) -> Tensor:
        states = getattr(self.model.base_model(**inputs), "last_hidden_state", None)
        if states is None:
            raise TypeError(
                f"The base model of {type(self.model).__name__} returns no last_hidden_state. Pass a transformers "
                "sequence classifier; of a PEFT model, model.get_base_model()."
            )
        if self.pooling == "cls":
            return states[:, 0].float()
        mask = inputs["attention_mask"].unsqueeze(-1)
        return (states.float() * mask).sum(1) / mask.sum(1)


@contextlib.contextmanager
def _evaluating(model: torch.nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode, and bfloat16 where it pays; every module goes back to the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    autocast: Any = torch.autocast(device.type, torch.bfloat16) if bf16_pays(device) else contextlib.nullcontext()
    model.eval()
    try:
        with autocast:
            yield
    finally:
        for module, training in modes:
            module.training = training


def _is_sentence_transformer(encoder: Any) -> bool:
    # Importing the library takes seconds; only torch modules can be one.
    if not isinstance(encoder, torch.nn.Module):
        return False
    from sentence_transformers import SentenceTransformer

    return isinstance(encoder, SentenceTransformer)


def _load_sentence_transformer(name: str, revision: str | None) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    try:
        source = resolve_model(name, revision)
        # Names come from recipes of strangers too: no pickles, no code.
        return SentenceTransformer(
            source,
            revision=revision if source == name else None,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except Exception as error:  # Hub, network, file and configuration errors share no base class
        package = ", or `pip install 'textpl[quickstart]'`, which brings this one" if name in OFFLINE_PACKAGES else ""
        raise OSError(
            f"The encoder {name!r}{f' at revision {revision!r}' if revision else ''} could be loaded neither from a "
            f"folder, nor an installed package, nor the Hub ({type(error).__name__}: {error}). Remedy: "
            f'encoder="lsa", which needs no download{package}.{told_loadable(name)}'
        ) from error


def _public_name(source: str) -> str:
    """The id of a model that was loaded from its offline package, anything else as it is."""
    return next((name for name in OFFLINE_PACKAGES if resolve_model(name) == source), source)
