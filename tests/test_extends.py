"""Parents: what is inherited, what is not, where paths lead, and which file an error names."""

from __future__ import annotations

import huggingface_hub
import pytest
from hub_server import Hub
from huggingface_hub import CommitOperationAdd, HfApi, constants

from textpl.recipes.hub import push
from textpl.recipes.parsing import RecipeError, load_recipe, parse_recipe, to_yaml
from textpl.recipes.references import Located
from textpl.recipes.schema import MethodSettings

TOKEN = "hf_" + "A" * 34
BASE = "schema: 1\ndata: {source: owner/name}\nsplit: {labels_per_class: 10}\n"


def family(folder, parent, child, *overrides):
    """A recipe over its parent in the same folder."""
    (folder / "base.yaml").write_text(parent)
    (folder / "recipe.yaml").write_text("schema: 1\nextends: base.yaml\n" + child)
    return load_recipe(folder, overrides=overrides).recipe


def refusal(folder, *arguments):
    with pytest.raises(RecipeError) as caught:
        family(folder, *arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("parent", "child", "found"),
    [
        # mappings are merged, the rest is replaced
        (
            "train: {max_steps: 9, optim: sgd}",
            "train: {max_steps: 5}",
            lambda r: (r.train.max_steps, r.train.optim) == (5, "sgd"),
        ),
        ("seeds: [1, 2]", "seeds: [3]", lambda r: r.seeds == (3,)),
        ("seeds: [1, 2]", "", lambda r: r.seeds == (1, 2)),
        (
            "method: {name: uda, ratio: 2}",
            "method: {threshold: 0.7}",
            lambda r: r.method.settings == {"ratio": 2, "threshold": 0.7},
        ),
        ("method: uda", "method: {ratio: 2}", lambda r: r.method == MethodSettings(name="uda", ratio=2)),
        ("method: {name: uda, ratio: 2}", "method: uda", lambda r: r.method.settings == {"ratio": 2}),
        ("model: x/y", "model: {max_length: 32}", lambda r: (r.model.name, r.model.max_length) == ("x/y", 32)),
        # another choice takes nothing over
        ("method: {name: uda, tsa: null}", "method: fixmatch", lambda r: r.method == MethodSettings(name="fixmatch")),
        ("method: {threshold: 0.8}", "method: {name: fixmatch}", lambda r: r.method == MethodSettings(name="fixmatch")),
        ("method: {threshold: 0.8}", "method: {name: adamatch}", lambda r: r.method.settings == {"threshold": 0.8}),
        ("method: {threshold: 0.8}", "stages: [clean, train]", lambda r: r.method.name == "none"),
        ("stages: [label, train]\nmethod: {ratio: 3}", "stages: [train]", lambda r: r.method == MethodSettings()),
        (
            "stages: [label, train]\nmethod: {ratio: 3}",
            "method: {weight: 2}",
            lambda r: r.method.settings["ratio"] == 3,
        ),
        (
            "train: {labeled_loss: {name: sce, a: 2}}",
            "train: {labeled_loss: gce}",
            lambda r: r.train.labeled_loss.settings == {},
        ),
        (
            "train: {labeled_loss: gce}",
            "train: {labeled_loss: {q: 0.3}}",
            lambda r: r.train.labeled_loss.settings == {"q": 0.3},
        ),
        (
            "data: {source: a/b, revision: abc, text: body}",
            "data: {source: c/d}",
            lambda r: (r.data.revision, r.data.text) == (None, None),
        ),
        ("data: {source: a/b, text: body}", "data: {source: a/b, label: x}", lambda r: r.data.text == "body"),
        (
            "model: {name: x/y, revision: abc, layers: 2, max_length: 32}",
            "model: x/z",
            lambda r: (r.model.revision, r.model.layers, r.model.max_length) == (None, None, 32),
        ),
        # one schedule, one view
        (
            "method: {weight: {linear: {value: 2, start: 0.1}}}",
            "method: {weight: {cosine: {value: 1}}}",
            lambda r: type(r.method.settings["weight"]).__name__ == "cosine",
        ),
        (
            "method: {weight: {linear: {value: 2, start: 0.1}}}",
            "method: {weight: {linear: {value: 1}}}",
            lambda r: (r.method.settings["weight"].value, r.method.settings["weight"].start) == (1, 0.1),
        ),
        (
            "method: {view: {tfidf: {p: 0.5}}}",
            "method: {view: word_noise}",
            lambda r: type(r.method.settings["view"]).__name__ == "WordNoise",
        ),
        # pairs of which one is set
        ("", "split: {labeled: 100}", lambda r: (r.split.labeled, r.split.labels_per_class) == (100, None)),
        ("train: {max_steps: 9}", "train: {num_train_epochs: 2}", lambda r: r.train.max_steps is None),
        (
            "method: {name: distillation, teacher: a/b}",
            "method: {name: distillation, column: c}",
            lambda r: "teacher" not in r.method.settings,
        ),
        # null takes a setting back, unless it is one
        (
            "train: {learning_rate: 1, optim: sgd}",
            "train: {learning_rate: null}",
            lambda r: (r.train.learning_rate, r.train.optim) == (2e-4, "sgd"),
        ),
        ("train: {learning_rate: 1}", "train: null", lambda r: r.train.learning_rate == 2e-4),
        ("noise: {kind: missing, rate: 0.1}", "noise: null", lambda r: r.noise is None),
        ("method: {view: word_noise}", "method: {view: null}", lambda r: r.method.settings == {"view": None}),
        ("method: {threshold: 0.5}", "method: {threshold: null}", lambda r: r.method.settings == {}),
        # what belongs to the parent alone
        ("description: theirs", "", lambda r: r.description == ""),
        (
            "expected: {metric: accuracy, seeds: [0], baseline: {mean: 1}, method: {mean: 2}}",
            "",
            lambda r: r.expected is None,
        ),
        ("textpl: '>=0.1'", "", lambda r: r.textpl == ">=0.1"),
    ],
)
def test_what_is_inherited(tmp_path, parent, child, found):
    base = BASE if "data:" not in parent else BASE.replace("data: {source: owner/name}\n", "")
    recipe = family(tmp_path, base + parent, child)
    assert found(recipe)
    assert parse_recipe(to_yaml(recipe), folder=tmp_path) == recipe and "extends" not in to_yaml(recipe)


def test_overrides_come_last(tmp_path):
    recipe = family(tmp_path, BASE + "train: {max_steps: 9}", "train: {max_steps: 5}", "train.max_steps=3")
    assert recipe.train.max_steps == 3


def test_grandparents_and_bundled_recipes(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "first.yaml").write_text("schema: 1\nextends: quickstart\nseeds: [7]\n")
    recipe = family(tmp_path, "schema: 1\nextends: old/first.yaml\ntrain: {max_steps: 5}\n", "")
    assert recipe.data.source == "bundled:sentiment" and recipe.seeds == (7,) and recipe.train.max_steps == 5


@pytest.mark.parametrize(
    ("parent", "child", "message"),
    [
        ("train: {max_step: 9}", "train: {optim: sgd}", "base.yaml, line 4: train.max_step: unknown key"),
        ("train: {optim: sgd}", "train: {max_step: 9}", "recipe.yaml, line 3: train.max_step: unknown key"),
        ("method: uda", "method: {threshold: 2}", "recipe.yaml, line 3: method.threshold: expected 1 or less"),
        ("method: udaa", "method: {threshold: 1}", "base.yaml, line 4: method.name: unknown method 'udaa'"),
        ("model: ../x", "", "base.yaml, line 4: model: '../x' leads out of the recipe's folder"),
        ("textpl: '>=9'", "textpl: '>=0.1'", "base.yaml, line 4: textpl: this recipe is for textpl >=9"),
    ],
)
def test_errors_name_the_file(tmp_path, parent, child, message):
    assert refusal(tmp_path, BASE + parent, child).startswith(message)


def test_a_parent_is_a_recipe_of_its_own_form(tmp_path):
    assert "base.yaml, line 1: schema: a parent is a recipe too" in refusal(tmp_path, "schema: 2\n", BASE[10:])
    assert "recipe.yaml, line 1: extends: cannot be set" not in refusal(tmp_path, BASE, "train: 3")
    with pytest.raises(RecipeError, match="--set extends=quickstart: cannot be set"):
        parse_recipe(BASE, folder=tmp_path, overrides=["extends=quickstart"])


def test_what_lies_beside_a_parent_is_found(tmp_path):
    (tmp_path / "parents" / "texts").mkdir(parents=True)
    (tmp_path / "parents" / "base.yaml").write_text(BASE.replace("owner/name", "texts"))
    (tmp_path / "recipe.yaml").write_text("schema: 1\nextends: parents/base.yaml\n")
    loaded = load_recipe(tmp_path)
    assert loaded.recipe.data.source == "parents/texts"
    assert loaded.locate(loaded.recipe.data.source) == tmp_path / "parents" / "texts"


# ---- what the user types ----


def test_typed_paths_lead_where_the_user_says(tmp_path, monkeypatch):
    recipe, here = tmp_path / "recipe", tmp_path / "here"
    (here / "runs" / "teacher").mkdir(parents=True)
    (recipe / "beside").mkdir(parents=True)
    (recipe / "recipe.yaml").write_text(BASE)
    monkeypatch.chdir(here)
    for typed, place in (
        ("runs/teacher", here / "runs" / "teacher"),
        (str(here / "runs"), here / "runs"),
        ("../recipe", recipe),
        (".", here),
    ):
        loaded = load_recipe(recipe, overrides=[f"model.name={typed}"])
        assert loaded.locate(loaded.recipe.model.name) == place, typed
        assert f"name: {place}" in to_yaml(loaded.recipe), "the run's recipe says what was read"
    many = load_recipe(recipe, overrides=["method={name: distillation, teacher: [runs/teacher, a/b]}"]).recipe
    assert many.method.build([], seed=0).teacher.models == [str(here / "runs/teacher"), "a/b"]
    for key in ("data.source", "label.encoder"):
        stages = ["stages=[label, train]"]
        assert load_recipe(recipe, overrides=[*stages, f"{key}=runs/teacher"]).recipe
    assert load_recipe(recipe, overrides=["model=runs/teacher"]).recipe.model.name == str(here / "runs/teacher")
    # What is not here can be beside the recipe, or on the Hub.
    beside = load_recipe(recipe, overrides=["model.name=beside"])
    assert beside.locate(beside.recipe.model.name) == recipe / "beside"
    assert load_recipe(recipe, overrides=["model.name=owner/runs"]).recipe.model.name == "owner/runs"
    for missing in ("/no/such", "../no", "./no"):
        with pytest.raises(RecipeError, match=f"--set model.name={missing}: there is no file or folder"):
            load_recipe(recipe, overrides=[f"model.name={missing}"])


def test_a_run_on_typed_paths_is_no_recipe_for_others(tmp_path):
    """What a run wrote names a place on this machine; whoever reads it as a recipe is told so."""
    (tmp_path / "m").mkdir()
    (tmp_path / "recipe.yaml").write_text(BASE)
    written = to_yaml(load_recipe(tmp_path, overrides=[f"model.name={tmp_path / 'm'}"]).recipe)
    with pytest.raises(RecipeError, match="model.name: .* is no path inside the recipe's folder.*--set"):
        parse_recipe(written, folder=tmp_path)


# ---- parents on the Hub, through the real client ----


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A server on loopback, with ada's token."""
    server = Hub({TOKEN: ("ada", True)}, page=2)
    with server.serve() as url:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        for name, value in {
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "ENDPOINT": url,
            "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_CACHE": str(tmp_path / "home" / "hub"),
            "HF_TOKEN_PATH": str(tmp_path / "home" / "token"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        huggingface_hub.close_session()
        yield server
        huggingface_hub.close_session()


def share(folder, repo, text, **settings):
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(text)
    return push(folder, repo, **settings)


def test_load_recipe_reads_the_hub(hub, tmp_path):
    pushed = share(tmp_path / "up", "ada/news", BASE + "train: {max_steps: 9}")
    for address in ("hf://ada/news", f"hf://ada/news@{pushed.revision}"):
        loaded = load_recipe(address, overrides=["seeds=[4]"])
        assert (loaded.name, loaded.recipe.train.max_steps, loaded.recipe.seeds) == ("news", 9, (4,))


def test_a_parent_on_the_hub(hub, tmp_path):
    pushed = share(tmp_path / "up", "ada/news", BASE + "train: {max_steps: 9}")
    (tmp_path / "recipe.yaml").write_text(f"schema: 1\nextends: hf://ada/news@{pushed.revision}\nseeds: [5]\n")
    recipe = load_recipe(tmp_path).recipe
    assert recipe.train.max_steps == 9 and recipe.seeds == (5,)
    (tmp_path / "recipe.yaml").write_text("schema: 1\nextends: hf://ada/none@main\n")
    with pytest.raises(RecipeError, match=r"recipe\.yaml, line 2: extends: .*ada/none"):
        load_recipe(tmp_path)


def test_data_of_a_parent_on_the_hub(hub, tmp_path):
    up = tmp_path / "up"
    (up / "texts").mkdir(parents=True)
    (up / "texts" / "train.jsonl").write_text('{"text": "good", "label": 1}\n{"text": "bad", "label": 0}\n')
    pushed = share(up, "ada/news", BASE.replace("owner/name", "texts"), with_data=True)
    (tmp_path / "recipe.yaml").write_text(f"schema: 1\nextends: hf://ada/news@{pushed.revision}\n")
    loaded = load_recipe(tmp_path)
    place = loaded.locate(loaded.recipe.data.source)
    assert isinstance(loaded.recipe.data.source, Located) and (place / "train.jsonl").is_file()


def test_recipes_on_the_hub_in_a_circle(hub, tmp_path):
    for repo, other in (("ada/a", "ada/b"), ("ada/b", "ada/a")):
        HfApi().create_repo(repo)
        text = f"schema: 1\nextends: hf://{other}@main\n".encode()
        HfApi().create_commit(repo, [CommitOperationAdd("recipe.yaml", text)], commit_message="circle")
    with pytest.raises(RecipeError, match="in a circle"):
        load_recipe("hf://ada/b")
    assert not list((tmp_path / "home").rglob("recipe.yaml")), "nothing that is not valid stays in the cache"
