"""What is shipped, and who imports whom."""

from __future__ import annotations

import ast
import importlib.resources
import itertools
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import textpl

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "textpl"
# Floors of the house; a module imports from its own floor or below.
FLOORS = [
    {"tasks", "atomic_files", "evaluation", "progress", "group_folds", "variance_components"},
    {"reading"},
    {"corpus", "splits", "split_groups", "stratified"},
    {"inference", "tokens", "unknown_tokens", "models"},
    {"embeddings"},
    {"relabeling", "annotations"},
    {"cleaning"},
    {"components", "pool", "pool_order"},
    {"label_issues", "shared_passages"},
    {"callbacks", "annotating", "labeling", "pseudo_labels", "out_of_fold", "noisy_scores", "selecting"}
    | {"label_origin", "label_files", "label_inputs", "label_summary", "label_descriptions", "label_annotations"}
    | {
        "encoder_comparison",
        "encoder_scores",
        "encoder_findings",
        "encoder_files",
        "embedding_classifier",
        "classify_files",
    },
    {"methods", "comparison", "arms", "embedding_arm", "free_for_labels", "looks", "outcomes", "overlap"}
    | {"head_inputs"},
    {"reports"},
    {"recipes"},
    {"sharing"},
    {
        "cli",
        "annotate_cli",
        "recipes_cli",
        "hub_cli",
        "score_cli",
        "label_cli",
        "select_cli",
        "classify_cli",
        "run_cli",
        "clean_cli",
        "encoders_cli",
        "terminal",
        "label_options",
    },
]


def modules():
    return [p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).parts[0] not in ("__init__.py", "data")]


def imports(path):
    """Modules imported by a file, those under TYPE_CHECKING left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)


def room(parts):
    return parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_import_runs_up_the_house(path):
    level = {name: i for i, floor in enumerate(FLOORS) for name in floor}
    here = level[room(path.relative_to(PACKAGE).parts)]
    for module, names in imports(path):
        if module.startswith("textpl."):
            assert level[module.split(".")[1]] <= here, f"{path.name} imports {module}"
        if here < level["callbacks"]:
            assert not (module == "transformers" and {"Trainer", "TrainerCallback"} & set(names)), path


def imported_by_module():
    """Module -> modules of textpl that it imports anywhere, those under TYPE_CHECKING left out."""
    paths = {".".join(["textpl", *p.relative_to(PACKAGE).with_suffix("").parts]): p for p in PACKAGE.rglob("*.py")}
    paths = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    found = {}
    for name, path in paths.items():
        wanted = {f"{module}.{part}" for module, parts in imports(path) for part in parts}
        found[name] = ({module for module, _ in imports(path)} | wanted) & set(paths) - {"textpl", name}
    return found


def test_no_modules_import_each_other_in_a_circle():
    left = imported_by_module()
    while leaves := {name for name, needed in left.items() if not needed & set(left)}:
        left = {name: needed for name, needed in left.items() if name not in leaves}
    assert not left, f"in a circle, or above one: {sorted(left)}"


def test_importing_textpl_is_light():
    code = "import sys, textpl, textpl.cli; print({'torch', 'transformers', 'datasets'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_public_names_exist():
    assert set(textpl.__all__) - {"__version__"} == set(textpl._PUBLIC)
    for name in textpl.__all__:
        assert getattr(textpl, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'fixmatsch'"):
        _ = textpl.fixmatsch


def test_names_that_moved_work_from_their_former_place():
    from textpl.recipes import fetching, hub
    from textpl.sharing.push_recipe import push_recipe

    with pytest.warns(DeprecationWarning, match="is now textpl"):
        assert hub.push is push_recipe and hub.pull is fetching.pull


def test_methods_say_what_they_are():
    for name, method in textpl.METHODS.items():
        assert method.make is getattr(textpl, name)
        assert re.search(r"\d{4}", method.paper)
        assert set(method.tasks) <= {"single", "multi"} and method.equation
        shared = {"ratio", "weight", "view", "text_column", "max_length", "seed"}
        assert shared <= set(method.defaults), name
        assert "When to use" in method.make.__doc__ and "unlabeled" not in method.defaults


def test_wheel_holds_data_recipes_and_types_and_nothing_else(tmp_path):
    source = tmp_path / "source"  # without build/, in which modules live on that are gone
    left = shutil.ignore_patterns(
        "build", ".*", "*.egg-info", "benchmarks", "docs", "notebooks", "tests", "__pycache__"
    )
    shutil.copytree(ROOT, source, ignore=left)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(source)]
    subprocess.run(command, capture_output=True, check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = ["py.typed", "recipes/bundled/quickstart.yaml", "recipes/templates/new_recipe.yaml"]
    wanted += [f"reports/templates/{name}.html" for name in ("base", "parts", "run", "label", "cleaning")]
    wanted += [f"sharing/templates/{name}.md" for name in ("run", "dataset")]
    wanted += [
        f"data/{corpus}/{file}"
        for corpus in ("sentiment", "sentiment_zh", "tickets")
        for file in ("train.jsonl", "info.json")
    ]
    assert {f"textpl/{w}" for w in wanted} <= names
    assert {f"textpl/{p.relative_to(PACKAGE)}" for p in PACKAGE.rglob("*.py")} == {n for n in names if n[-3:] == ".py"}
    assert all(n.startswith(("textpl/", "textpl-")) for n in names)


def bundled(corpus):
    folder = importlib.resources.files("textpl.data") / corpus
    lines = [line for part in ("train", "test") for line in (folder / f"{part}.jsonl").open(encoding="utf-8")]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("corpus", "shingle", "rows"), [("sentiment", 5, 600), ("sentiment_zh", 2, 300), ("tickets", 5, 300)]
)
def test_bundled_texts_are_no_templates(corpus, shingle, rows):
    texts = [re.sub(r"\s+", " ", row["text"].lower()) for row in bundled(corpus)]
    assert len(texts) == len(set(texts)) == rows
    sets = [{text[i : i + shingle] for i in range(max(len(text) - shingle + 1, 1))} for text in texts]
    assert max(len(a & b) / len(a | b) for a, b in itertools.combinations(sets, 2)) < 0.4
    openings = [text[:3] if corpus == "sentiment_zh" else " ".join(text.split()[:2]) for text in texts]
    assert max(map(openings.count, openings)) <= 0.03 * len(texts)


def test_bundled_labels_are_balanced_or_spread():
    for corpus in ("sentiment", "sentiment_zh"):
        labels = [row["label"] for row in bundled(corpus)]
        assert abs(sum(labels) / len(labels) - 0.5) < 0.01
    tickets = bundled("tickets")
    sizes = [len(row["labels"]) for row in tickets]
    assert sizes.count(0) >= 20 and sizes.count(4) >= 8 and max(sizes) == 4
    counts = [sum(name in row["labels"] for row in tickets) for name in {n for r in tickets for n in r["labels"]}]
    assert len(counts) == 10 and min(counts) >= 25
