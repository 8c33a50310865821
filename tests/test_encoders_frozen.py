"""A frozen word table: unchanged by training, by resuming and by every method; the rest is trained."""

from __future__ import annotations

import pytest
import torch
from conftest import make_model, make_pool, make_tokenizer, make_trainer
from transformers import TrainerCallback
from typer.testing import CliRunner

import textpl
from textpl.cli import app
from textpl.models import count_parameters, freeze_embeddings, load_classifier
from textpl.recipes.parsing import RecipeError, load_recipe, parse_recipe
from textpl.tasks import SingleLabel

TABLE = "bert.embeddings.word_embeddings.weight"
RECIPE = "schema: 1\ndata: {source: 'bundled:sentiment'}\nsplit: {labels_per_class: 2, pool: 20, test: 10}\n"


@pytest.fixture
def folder(tmp_path):
    make_model().save_pretrained(tmp_path / "model")
    make_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def load(folder, freeze="embeddings"):
    torch.manual_seed(0)  # of the new head
    return load_classifier(str(folder), SingleLabel(3), list("abc"), freeze=freeze)[0]


class Stop(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 4:
            raise KeyboardInterrupt


def trainer(folder, model, *, method="mean_teacher", stop=False, **settings):
    settings = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3, "weight_decay": 0.1, **settings}
    built = make_trainer(folder, make_tokenizer(), model=model, callbacks=[Stop()] * stop, **settings)
    return textpl.attach(built, textpl.METHODS[method].make(make_pool(), ratio=2))


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_table_stays_and_all_else_is_trained(tmp_path, folder, checkpointing):
    model = load(folder)
    before = state(model)
    trainer(tmp_path / "run", model, gradient_checkpointing=checkpointing).train()
    after = state(model)
    assert {name for name in before if torch.equal(before[name], after[name])} == {TABLE}


def test_a_resumed_run_equals_a_straight_one(tmp_path, folder):
    straight = trainer(tmp_path / "straight", load(folder))
    straight.train()
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path / "killed", load(folder), stop=True).train()
    resumed = trainer(tmp_path / "killed", load(folder))
    resumed.train(resume_from_checkpoint=True)
    one, other = state(straight.model), state(resumed.model)
    assert resumed.state.global_step == 6 and all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(other[TABLE], make_model().state_dict()[TABLE])


def test_what_is_counted_is_what_is_trained(folder):
    model = load(folder)
    sizes = [p.numel() for p in model.parameters() if p.requires_grad]
    all_ = sum(p.numel() for p in model.parameters())
    assert count_parameters(str(folder), 3, freeze="embeddings") == (sum(sizes), all_)
    assert count_parameters(str(folder), 3) == (all_, all_)
    assert all_ - sum(sizes) == model.state_dict()[TABLE].numel()


def test_a_model_without_a_table_is_refused():
    with pytest.raises(ValueError, match="freeze: Linear says of no layer"):
        layer = torch.nn.Linear(2, 2)
        layer.get_input_embeddings = lambda: None
        freeze_embeddings(layer)


def test_a_recipe_says_so_and_a_run_tells_how_much_is_trained(tmp_path, folder):
    text = RECIPE + "model: {name: model, freeze: embeddings, max_length: 16}\nmethod: {name: mean_teacher}\n"
    (tmp_path / "recipe.yaml").write_text(text + "train: {max_steps: 2}\nseeds: [0]\n")
    assert load_recipe(tmp_path).recipe.model.freeze == "embeddings"
    shown = CliRunner().invoke(app, ["recipes", "show", str(tmp_path)])
    assert "word table frozen" in shown.output, shown.output
    done = CliRunner().invoke(app, ["run", str(tmp_path), "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    trained, all_ = count_parameters(str(folder), 2, freeze="embeddings")
    told = f"{trained:,} of its {all_:,} parameters trained"
    assert told in " ".join(done.output.split())
    assert f"word table frozen, {told}" in (tmp_path / "run" / "report.html").read_text()
    with pytest.raises(RecipeError, match="freeze"):
        parse_recipe(text.replace("freeze: embeddings", "freeze: head"), folder=tmp_path)
