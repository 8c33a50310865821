"""Hashes that tell two encoders apart: weights, tokenizer and settings, whatever name or folder they came from."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch


def module_fingerprint(
    module: torch.nn.Module, tokenizer: Any, *settings: object, unused: str | None = None
) -> str | None:
    """sha256 of a module's weights, its tokenizer and further settings (anything with a stable `repr`).

    Args:
        module: with the weights.
        tokenizer: of its texts.
        settings: whatever else decides the vectors.
        unused: name of a submodule that does not: transformers fills what a checkpoint lacks with other random numbers
            at every load.

    Returns:
        hexadecimal digest, or None where the tokenizer is of no known kind and the encoder must not be cached.
    """
    vocabulary = _tokenizer_text(tokenizer)
    if vocabulary is None:
        return None
    digest = hashlib.sha256(f"{settings!r}|{vocabulary}".encode("utf-8", "surrogatepass"))
    for name, tensor in module.state_dict().items():
        if unused is not None and unused in name.split("."):
            continue
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _tokenizer_text(tokenizer: Any) -> str | None:
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(backend, "to_str"):
        # Truncation and padding change with every call; the lengths that matter are among the settings.
        described = json.loads(backend.to_str()) | {"truncation": None, "padding": None}
        return json.dumps(described, sort_keys=True)
    if hasattr(tokenizer, "get_vocab"):
        return repr((type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())))
    return None
