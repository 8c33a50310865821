"""What a stage of a recipe encodes texts with."""

from __future__ import annotations

from textpl.embeddings.encoders import SentenceEncoder
from textpl.progress import quiet_loading
from textpl.recipes.parsing import LoadedRecipe


def stage_encoder(loaded: LoadedRecipe, name: str) -> str | SentenceEncoder:
    """The encoder of this name; where the classifier begins as the same model, it is of the same revision."""
    model = loaded.recipe.model
    if name == model.name and model.revision is not None:
        with quiet_loading():
            return SentenceEncoder(name, revision=model.revision)
    return str(loaded.locate(name))
