"""What README and docs say is true: their code runs, their commands parse, the site builds without a warning."""

from __future__ import annotations

import ast
import doctest
import importlib
import io
import re
import shlex
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest
import typer.main
from conftest import make_model, make_texts, make_trainer
from sphinx.application import Sphinx

import textpl
from textpl.cli import app
from textpl.recipes.parsing import load_recipe

ROOT = Path(__file__).parents[1]
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
PAGES = [ENGLISH, CHINESE, *sorted(ROOT.glob("docs/*.md"))]
WITH_COMMANDS = [*PAGES, *sorted(ROOT.glob("recipes/*/README.md")), *sorted(ROOT.glob("notebooks/README.md"))]
# What is smaller here than as printed.
SMALLER = {
    "sentence-transformers/all-MiniLM-L6-v2": "tiny",
    "max_steps=200": "max_steps=2",
    "max_steps=400": "max_steps=2",
    "range(5)": "range(2)",
    "random_review(report, 250)": "random_review(report, 40)",
}


def name(path):
    return path.relative_to(ROOT).as_posix()


def python_blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def stand_ins(folder, tokenizer):
    """What the pages take for granted: some data, a Trainer, files."""
    texts, scores = make_texts(80)
    labels = (scores > 0).astype(int).tolist()
    labeled = datasets.Dataset.from_dict({"text": texts[:24], "label": labels[:24]})
    unlabeled = datasets.Dataset.from_dict({"text": texts[24:]})
    labeled.to_csv("labeled.csv")
    unlabeled.to_csv("unlabeled.csv")
    make_model(labels=2).save_pretrained("tiny")
    tokenizer.save_pretrained("tiny")

    def trainer(seed=0):
        return make_trainer(folder / "trained", tokenizer, max_steps=1)

    corpus = datasets.Dataset.from_dict({"text": texts, "labels": labels})
    return {
        "textpl": textpl,
        "labeled": labeled,
        "unlabeled": unlabeled,
        "pool": unlabeled,
        "corpus": corpus,
        "dataset": corpus,
        "test": corpus.rename_column("labels", "label"),
        "p": np.full((80, 2), 0.5),
        "trainer": trainer(),
        "make_trainer": trainer,
    }


@pytest.mark.parametrize("page", [p for p in PAGES if p != CHINESE and python_blocks(p)], ids=name)
def test_python_of_a_page_runs(page, tmp_path, monkeypatch, tokenizer):
    """All blocks in their order, on a tiny model for two steps; the embeddings are real ones."""
    monkeypatch.chdir(tmp_path)
    scope = stand_ins(tmp_path, tokenizer)
    for number, block in enumerate(python_blocks(page), 1):
        for printed, used in SMALLER.items():
            block = block.replace(printed, used)
        exec(compile(block, f"{page.name}, block {number}", "exec"), scope)
    if page == ENGLISH:
        assert scope["trainer"].state.global_step == 2
        assert {"label", "evidence"} <= set(scope["dataset"].column_names)
        assert {"given_labels", "label_weight"} <= set(scope["cleaned"].column_names) and Path("review.csv").exists()
        assert "points" in str(scope["comparison"])


def test_recipes_of_the_pages_are_valid(tmp_path):
    texts = (page.read_text(encoding="utf-8") for page in PAGES)
    recipes = [block for text in texts for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)]
    assert len(recipes) >= 3
    for recipe in recipes:
        (tmp_path / "recipe.yaml").write_text(recipe, encoding="utf-8")
        load_recipe(tmp_path)


def numbers(page):
    """Those of the prose; code is compared apart."""
    prose = re.sub(r"```.*?```|^    .*?$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return Counter(re.findall(r"\d+(?:[.,]\d+)*", prose))


def commands(page):
    """Lines of shell in indented blocks, comments taken away, continued lines joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = (shlex.split(line, comments=True) for line in re.findall(r"^ {4}(\S.*)$", text, flags=re.MULTILINE))
    return [[words[0].removeprefix(".venv/bin/"), *words[1:]] for words in lines if words]


def test_both_readmes_say_the_same():
    for blocks in zip(python_blocks(ENGLISH), python_blocks(CHINESE), strict=True):
        assert ast.dump(ast.parse(blocks[0])) == ast.dump(ast.parse(blocks[1]))
    assert commands(ENGLISH) == commands(CHINESE)
    assert numbers(ENGLISH) == numbers(CHINESE)
    outlines = [
        re.findall(r"^#+ |^\|(?=--)|^!\[", p.read_text(encoding="utf-8"), re.MULTILINE) for p in (ENGLISH, CHINESE)
    ]
    assert outlines[0] == outlines[1]
    links = [
        sorted(set(re.findall(r"\]\(([^)#]+)", p.read_text(encoding="utf-8"))) - {ENGLISH.name, CHINESE.name})
        for p in (ENGLISH, CHINESE)
    ]
    assert links[0] == links[1]


@pytest.fixture(scope="module")
def parser():
    """The command line, which parses, does nothing, and gives its exit code."""
    command = typer.main.get_command(app)
    waiting = [command]
    while waiting:
        group = waiting.pop()
        for child in group.commands.values():
            if hasattr(child, "commands"):
                waiting.append(child)
            else:
                child.callback = lambda **options: None

    def parse(arguments):
        with pytest.raises(SystemExit) as stop:
            command.main(arguments, prog_name="textpl")
        return stop.value.code

    return parse


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name)
def test_commands_of_a_page_parse(page, parser, monkeypatch):
    monkeypatch.chdir(ROOT)
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    inline = re.findall(r"`(textpl [a-z][^`]* --[^`]+)`", page.read_text(encoding="utf-8"))
    for program, *arguments in [*commands(page), *map(shlex.split, inline)]:
        if program == "textpl":
            assert parser(arguments) == 0, f"textpl {shlex.join(arguments)}"
        elif program == "make":
            assert arguments[0] in targets
        elif program == "python" and not arguments[0].startswith("-"):
            script = (ROOT / arguments[0]).read_text(encoding="utf-8")
            assert all(f'"{word}"' in script for word in arguments if word.startswith("--")), arguments


def test_wrong_options_are_found(parser):
    """The check above would notice."""
    for wrong in ("run quickstart --sedes 1", "lable a.csv", "recipes push folder", "clean corpus.csv"):
        assert parser(wrong.split()) == 2, wrong


def test_finetune_page_lists_every_method():
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/finetune.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(table) == sorted(textpl.METHODS)


def with_examples():
    modules = (p for p in (ROOT / "textpl").rglob("*.py") if ">>> " in p.read_text(encoding="utf-8"))
    return sorted(".".join(p.relative_to(ROOT).with_suffix("").parts) for p in modules)


@pytest.mark.parametrize("module", with_examples())
def test_docstring_examples(module):
    done = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert done.attempted and not done.failed


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of Sphinx, for its extensions
def test_site_builds_without_a_warning_and_has_every_public_name(tmp_path):
    """As `make docs`."""
    warned = io.StringIO()
    folders = (ROOT, ROOT / "docs", tmp_path / "site", tmp_path / "doctrees")
    site = Sphinx(*folders, "html", status=None, warning=warned)
    site.build()
    assert warned.getvalue().splitlines() == []
    documented = set(site.env.domains.python_domain.objects)
    assert {f"textpl.{public}" for public in textpl.__all__} - documented == {"textpl.__version__"}
    for notebook in ROOT.glob("notebooks/*.ipynb"):
        page = (tmp_path / "site" / "notebooks" / f"{notebook.stem}.html").read_text(encoding="utf-8")
        assert 'class="cell_output' in page and "<img" in page, "with what its cells gave"
