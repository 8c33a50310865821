"""Which files make up a recipe on the Hub, and how large they may be: nothing else goes up or comes down."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from textpl.recipes.recipe_text import FILE_NAME, MAX_BYTES, read_document, validate_document
from textpl.recipes.references import change_references, is_elsewhere, not_beside
from textpl.recipes.yaml_text import RecipeError

CARD, RESULTS, PICTURE = "README.md", "results.json", "comparison.png"
# The files of a recipe and how many bytes each may have.
SIZES = {FILE_NAME: MAX_BYTES, CARD: 2**20, RESULTS: 2**24, PICTURE: 2**24}
MAX_FILES = 10_000  # in a repository
DATA_BYTES = 2**31  # of all data files together
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_DATA_PATH = re.compile(rf"(?:{_NAME}/){{0,3}}(?:{_NAME}\.(?:jsonl|parquet|csv|tsv)|info\.json)")
# What `save_pretrained` of models and tokenizers writes; never a pickle.
_MODEL_FILE = re.compile(
    r"(generation_)?config\.json|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json|chat_template\.jinja"
    r"|(tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json|(vocab|merges|bpe\.codes)\.txt"
    r"|(spiece|spm|sentencepiece|sentencepiece\.bpe|tokenizer)\.model"
)


def is_data(path: str) -> bool:
    """Tell whether a path in a repository may be data of a recipe: a table or info.json, at most three folders in."""
    return _DATA_PATH.fullmatch(path) is not None


def is_model_file(name: str) -> bool:
    """Tell whether a file belongs to a model: weights as safetensors, configuration, tokenizer."""
    return _MODEL_FILE.fullmatch(name) is not None


def files_to_pull(text: str, sizes: Mapping[str, int]) -> list[str]:
    """Choose what is downloaded beside a stranger's recipe.yaml, once its text has been validated.

    Args:
        text: of recipe.yaml.
        sizes: bytes of every file in the repository.

    Returns:
        Paths: card, results and picture, and the data files that the recipe names.

    Raises:
        RecipeError: for an invalid recipe, one that names what would not be there, or files that are too large.
    """
    document = read_document(text)
    recipe = validate_document(document, None)
    source = PurePosixPath(recipe.data.source)
    data = [name for name in sizes if is_data(name) and source in (PurePosixPath(name), PurePosixPath(name).parent)]

    def check(keys: tuple[str | int, ...], reference: str) -> str:
        is_data_key = keys[0] == "data"
        if not is_elsewhere(reference, data=is_data_key) and not (is_data_key and data):
            document.add(keys, not_beside(reference, data=is_data_key))
        return reference

    change_references(recipe.model_dump(by_alias=True), check)
    document.stop_at_problems()
    for name, most in SIZES.items():
        if sizes.get(name, 0) > most:
            raise RecipeError(f"{name} has {sizes[name]:,} bytes, more than the {most:,} that are read of a recipe.")
    if sum(sizes[name] for name in data) > DATA_BYTES:
        raise RecipeError(
            f"The data beside the recipe has more than {DATA_BYTES / 2**30:.0f} GiB: download it yourself and name it "
            "with --data."
        )
    return [name for name in SIZES if name in sizes and name != FILE_NAME] + data
