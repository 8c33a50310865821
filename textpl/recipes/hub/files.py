"""Which files of a recipe travel to the Hub and back: a short list with sizes, and nothing secret."""

from __future__ import annotations

import json
import mmap
import re
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textpl.recipes.data_beside import (
    DATA_BYTES,
    RUN_HEADER,
    ToPush,
    data_to_push,
    is_data,
    local_references,
    readable,
    regular_file,
)
from textpl.recipes.finding import HUB, address
from textpl.recipes.parsing import FILE_NAME, MAX_BYTES, RecipeError, parse_recipe, to_yaml
from textpl.recipes.references import OWN_DATA, Located
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import Document

CARD, RESULTS, PICTURE = "README.md", "results.json", "comparison.png"
# The files of a recipe and how many bytes each may have.
SIZES = {FILE_NAME: MAX_BYTES, CARD: 2**20, RESULTS: 2**24, PICTURE: 2**24}
MAX_FILES = 10_000  # in a repository
# What `save_pretrained` of models and tokenizers writes; never a pickle.
_MODEL_FILE = re.compile(
    r"(generation_)?config\.json|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json|chat_template\.jinja"
    r"|(tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json|(vocab|merges|bpe\.codes)\.txt"
    r"|(spiece|spm|sentencepiece|sentencepiece\.bpe|tokenizer)\.model"
)
_TOKENS = (
    r"hf_[A-Za-z0-9]{20,}", r"hf_oauth_[A-Za-z0-9_.-]{20,}", r"api_org_[A-Za-z0-9]{30,}", r"AIza[A-Za-z0-9_-]{35}",
    r"glpat-[A-Za-z0-9_-]{20,}", r"gh[opsru]_[A-Za-z0-9]{30,}", r"github_pat_[A-Za-z0-9_]{30,}",
    r"\bsk-[A-Za-z0-9_-]{32,}", r"AKIA[0-9A-Z]{16}", r"xox[abprs]-[A-Za-z0-9-]{10,}",
    r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----",
)  # fmt: skip
_OWN_PATH = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|\.\.[/\\]")
_INNER_PATH = re.compile(r"""(?<=[\s\[{,'"])(?:~|\.\.|[A-Za-z]:)?[/\\][^,\]}'"]*""")


def is_model_file(name: str) -> bool:
    """Whether a file belongs to a model: weights as safetensors, configuration, tokenizer."""
    return _MODEL_FILE.fullmatch(name) is not None


def files_to_push(wanted: ToPush, *, with_data: bool = False, token: str | None = None) -> dict[str, bytes | Path]:
    """The files of a recipe that go up, by their path in the repository; small ones as they are published.

    Paths of this machine are taken out of `recipe.yaml` and `results.json` where `run` wrote them. A recipe that
    extends others goes up written out, as its parents may be elsewhere, and may change; but one whose data lie beside a
    parent on the Hub goes up as it is. Where own data stay here, it asks for data.

    Args:
        wanted: from `load_to_push`.
        with_data: also the data beside the recipe that it names.
        token: must not be in any of them.

    Raises:
        RecipeError: for one that needs local files that do not go up, a symbolic link, a file that is too large, or one
            that holds a secret.
    """
    loaded = wanted.loaded
    files: dict[str, bytes | Path] = {}
    for name, most in SIZES.items():
        path = loaded.folder / name
        if path.exists() or path.is_symlink():
            files[name] = published(name, regular_file(path, most).read_bytes())
    recipe = shared_recipe(wanted, with_data=with_data)
    if recipe is not loaded.recipe or "extends" in Document(FILE_NAME).read(loaded.text):
        files[FILE_NAME] = loaded.text.encode() if recipe.data.source.startswith(HUB) else to_yaml(recipe).encode()
    if wanted.models:
        key, path = next(iter(wanted.models.items()))
        raise RecipeError(
            f"{key}: {path.name} lies beside the recipe, and models do not go up with it. Push the model (its Trainer "
            "has push_to_hub) and name it by its id."
        )
    if recipe is loaded.recipe:
        files |= data_to_push(wanted)
    for name, content in files.items():
        refuse_secrets(name, content, token)
    return files


def shared_recipe(wanted: ToPush, *, with_data: bool) -> Recipe:
    """The recipe as it goes up: of own data that stay here it says that everybody brings theirs.

    Data beside a parent on the Hub are there already, and have its address as their name.

    Raises:
        RecipeError: if it extends a parent on the Hub that may change.
    """
    recipe = wanted.loaded.recipe
    if wanted.data is None:
        return recipe
    source = OWN_DATA
    if isinstance(recipe.data.source, Located):
        of = next((folder for folder in wanted.data.parents if address(folder)), None)
        parent = address(of) if of else None
        if of is None or Document(FILE_NAME).read(wanted.loaded.text).get("extends") != parent:
            pinned = f", and write extends: {parent}" if parent else ""
            raise RecipeError(
                f"data.source: {wanted.data.name} lies beside a parent: copy it to the recipe{pinned and ' or pin it'}"
                f"{pinned}."
            )
        source = f"{parent}/{wanted.data.relative_to(of).as_posix()}"
    elif with_data:
        return recipe
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": source})})


def files_to_pull(text: str, sizes: Mapping[str, int]) -> list[str]:
    """Paths to download beside a stranger's recipe.yaml, once its text has been validated.

    Args:
        text: of recipe.yaml.
        sizes: bytes of every file in the repository.

    Raises:
        RecipeError: for an invalid recipe, or files that are too large.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        try:
            # Empty files stand for the data: the recipe is validated before any of it is downloaded.
            for path in filter(is_data, sizes):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).touch()
        except OSError as error:
            raise RecipeError(f"The repository holds names that exclude each other: {error}.") from None
        recipe = parse_recipe(text, folder=folder)
        source = local_references(recipe, folder).get("data.source")
        beside = readable(source) if source is not None and source.is_relative_to(folder) else ()
        data = [path.relative_to(folder).as_posix() for path in beside]
    for name, most in SIZES.items():
        if sizes.get(name, 0) > most:
            raise RecipeError(f"{name} has {sizes[name]:,} bytes, more than the {most:,} that are read of a recipe.")
    if sum(sizes[path] for path in data) > DATA_BYTES:
        raise RecipeError(
            f"The data beside the recipe has more than {DATA_BYTES / 2**30:.0f} GiB: download it yourself and name it "
            "with --data."
        )
    return [name for name in SIZES if name in sizes and name != FILE_NAME] + data


def published(name: str, content: bytes) -> bytes:
    """A file as it goes up: without what `run` wrote about the machine.

    Raises:
        RecipeError: for results that are no JSON.
    """
    if name == FILE_NAME:
        return RUN_HEADER.sub("", content.decode("utf-8-sig").replace("\r\n", "\n")).encode()
    return published_json(name, content) if name == RESULTS else content


def published_json(name: str, content: bytes) -> bytes:
    """JSON as it goes up: without the paths of this machine.

    Raises:
        RecipeError: if it is none.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{name} is no valid JSON: {error}.") from None
    return (json.dumps(without_paths(data), indent=1, ensure_ascii=False) + "\n").encode()


def without_paths(value: Any) -> Any:
    """The same with the last part of paths that say where things lie on a machine; in commands, too."""
    if isinstance(value, dict):
        return {k: command_without_paths(v) if k == "command" else without_paths(v) for k, v in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    if isinstance(value, str) and _OWN_PATH.match(value):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1] or value  # "/" alone: a delimiter
    return value


def command_without_paths(command: Any) -> Any:
    """A command line of which nobody learns where things lie on a machine."""
    try:
        words = shlex.split(command)
    except (ValueError, TypeError, AttributeError):
        return without_paths(command)
    return shlex.join(map(_word_without_paths, words))


def _word_without_paths(word: str) -> str:
    """A path, KEY=PATH, or KEY=VALUE with paths inside, as in data={source: /home/ada/x}; a path may hold a = too."""
    option, sign, value = ("", "", word) if _OWN_PATH.match(word) else word.partition("=")
    if not sign:
        option, value = "", word
    last = without_paths(value)
    inside = _INNER_PATH.sub(lambda found: str(without_paths(found[0].rstrip())), value)
    return f"{option}{sign}{last if last != value else inside}"


def refuse_secrets(name: str, content: bytes | Path, token: str | None) -> None:
    """RecipeError if a file holds the token, or what looks like any."""
    line = _line_of(re.compile(secrets_pattern(token).encode()), content)
    if line is not None:
        raise RecipeError(f"{name}, line {line}: holds what looks like a secret (a token or key). Take it out.")


def secrets_pattern(token: str | None) -> str:
    """A regular expression for tokens and keys, and for this one."""
    return "|".join([*_TOKENS, *([re.escape(token)] if token else [])])


def _line_of(pattern: re.Pattern[bytes], content: bytes | Path) -> int | None:
    if isinstance(content, bytes):
        hit = pattern.search(content)
        return None if hit is None else content.count(b"\n", 0, hit.start()) + 1
    if not content.stat().st_size:
        return None
    with content.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        hit = pattern.search(view)
        return None if hit is None else view[: hit.start()].count(b"\n") + 1
