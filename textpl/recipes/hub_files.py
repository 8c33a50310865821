"""Which files of a recipe travel to the Hub and back: a short list with sizes, and nothing secret."""

from __future__ import annotations

import json
import mmap
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from textpl.recipes.parsing import FILE_NAME, MAX_BYTES, LoadedRecipe, RecipeError, load_recipe, parse_recipe, to_yaml
from textpl.recipes.references import locate
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import Document
from textpl.sources import READABLE

CARD, RESULTS, PICTURE = "README.md", "results.json", "comparison.png"
# The files of a recipe and how many bytes each may have.
SIZES = {FILE_NAME: MAX_BYTES, CARD: 2**20, RESULTS: 2**24, PICTURE: 2**24}
DATA_BYTES = 2**31  # of all data files together
MAX_FILES = 10_000  # in a repository
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_DATA_PATH = re.compile(rf"(?:{_NAME}/){{0,3}}(?:{_NAME}\.(?:jsonl|parquet)|info\.json)")
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
# What `run` writes above a recipe: a fingerprint, and the place of the data on that machine.
_RUN_HEADER = re.compile(r"\A# data [^\n]*\n")


def is_data(path: str) -> bool:
    """Whether a path in a repository may be data of a recipe: jsonl, parquet or info.json, at most three folders in."""
    return _DATA_PATH.fullmatch(path) is not None


def is_model_file(name: str) -> bool:
    """Whether a file belongs to a model: weights as safetensors, configuration, tokenizer."""
    return _MODEL_FILE.fullmatch(name) is not None


def files_to_push(folder: Path, *, with_data: bool = False, token: str | None = None) -> dict[str, bytes | Path]:
    """The files of a recipe that go up, by their path in the repository; small ones as they are published.

    Paths of this machine are taken out of `recipe.yaml` and `results.json` where `run` wrote them. A recipe that
    extends others goes up written out: its parents may be elsewhere, and may change.

    Args:
        folder: with recipe.yaml.
        with_data: also the data beside the recipe that it names.
        token: must not be in any of them.

    Raises:
        RecipeError: for an invalid recipe, one that needs local files that do not go up, a symbolic link, a file that
            is too large, or one that holds a secret.
    """
    if not (folder / FILE_NAME).is_file():
        raise RecipeError(f"The folder {folder} holds no {FILE_NAME}.")
    loaded = load_recipe(folder)
    files: dict[str, bytes | Path] = {}
    for name, most in SIZES.items():
        if (folder / name).exists() or (folder / name).is_symlink():
            files[name] = published(name, regular_file(folder / name, most).read_bytes())
    if "extends" in Document(FILE_NAME).read(loaded.text):
        files[FILE_NAME] = to_yaml(loaded.recipe).encode()
    files |= _local_data(loaded, with_data)
    for name, content in files.items():
        refuse_secrets(name, content, token)
    return files


def local_references(recipe: Recipe, folder: Path) -> dict[str, Path]:
    """Key -> path of what a recipe reads beside it."""
    teachers = recipe.method.settings.get("teacher") or ()
    named: dict[str, Any] = {
        "data.source": recipe.data.source,
        "model.name": recipe.model.name,
        "label.encoder": recipe.label.encoder,
        "clean.encoder": recipe.clean.encoder,
        **({"noise.encoder": recipe.noise.encoder} if recipe.noise else {}),
        **{f"method.teacher {name}": name for name in ([teachers] if isinstance(teachers, str) else teachers)},
    }
    named = {key: name for key, name in named.items() if name != "lsa" and not name.startswith("bundled:")}
    found = {key: locate(name, folder) for key, name in named.items()}
    return {key: path for key, path in found.items() if isinstance(path, Path)}


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
        beside = _readable(source) if source is not None else ()
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


def _local_data(loaded: LoadedRecipe, with_data: bool) -> dict[str, bytes | Path]:
    references = local_references(loaded.recipe, loaded.folder)
    source = references.pop("data.source", None)
    if references:
        key, path = next(iter(references.items()))
        raise RecipeError(
            f"{key}: {path.name} lies beside the recipe, and models do not go up with it. Push the model (its Trainer "
            "has push_to_hub) and name it by its id."
        )
    if source is None:
        return {}
    if not with_data:
        raise RecipeError(
            f"data.source: {loaded.recipe.data.source} lies beside the recipe and would not go up: push with "
            "--with-data, or name a Hub id."
        )
    if not source.is_relative_to(loaded.folder):
        raise RecipeError(
            f"data.source: {source.name} lies beside a parent: name its Hub id, or copy it to the recipe."
        )
    found: dict[str, bytes | Path] = {}
    for path in _readable(source):
        name = path.relative_to(loaded.folder).as_posix()
        if not is_data(name):
            raise RecipeError(f"{name}: data goes up as jsonl or parquet, with plain names and in at most 3 folders.")
        found[name] = regular_file(path, DATA_BYTES)
    if sum(path.stat().st_size for path in found.values() if isinstance(path, Path)) > DATA_BYTES:
        raise RecipeError("The data is too large for a recipe: push it as a dataset and name its id.")
    return found


def _readable(source: Path) -> Iterator[Path]:
    """The files that reading a source opens."""
    if source.is_file():
        yield source
    elif source.is_dir():
        yield from (path for path in sorted(source.iterdir()) if path.suffix in READABLE)


def regular_file(path: Path, most: int) -> Path:
    """The path of a file that may go up.

    Raises:
        RecipeError: for a link, a folder or more than `most` bytes.
    """
    if path.is_symlink() or not path.is_file():
        raise RecipeError(f"{path} is a link or no file; only files go up. Put a copy there.")
    if path.stat().st_size > most:
        raise RecipeError(f"{path} has {path.stat().st_size:,} bytes; at most {most:,} go up.")
    return path


def published(name: str, content: bytes) -> bytes:
    """A file as it goes up: without what `run` wrote about the machine.

    Raises:
        RecipeError: for results that are no JSON.
    """
    if name == FILE_NAME:
        return _RUN_HEADER.sub("", content.decode("utf-8-sig").replace("\r\n", "\n")).encode()
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
