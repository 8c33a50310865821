"""Recipes: what they may say, short forms, overrides, every refusal with its line, round trip."""

import contextlib
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TrainingArguments
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

import textpl
from textpl import (
    METHODS,
    CoTeaching,
    EarlyLearning,
    ForwardCorrection,
    GeneralizedCrossEntropy,
    SemiSupervised,
    SymmetricCrossEntropy,
)
from textpl.components.schedules import cosine, linear
from textpl.components.teachers import FrozenTeacher
from textpl.components.views import TfidfReplacement, WordNoise
from textpl.evaluation import METRICS
from textpl.reading import sources
from textpl.recipes import (
    explaining,
    field_types,
    loss_settings,
    method_settings,
    parsing,
    references,
    schema,
    yaml_text,
)
from textpl.recipes.parsing import RecipeError, bundled_recipes, load_recipe, parse_recipe, to_yaml
from textpl.recipes.references import locate
from textpl.recipes.schema import MethodSettings, Recipe, TrainSettings

ROOT = Path(__file__).parents[1]
BASE = "schema: 1\ndata: {source: fancyzhx/ag_news}\nsplit: {labels_per_class: 10}\n"


def parse(text, *overrides, folder=ROOT / "textpl"):
    return parse_recipe(text, folder=folder, overrides=overrides)


def refusal(text, *overrides, **keywords):
    with pytest.raises(RecipeError) as caught:
        parse(text, *overrides, **keywords)
    return str(caught.value)


# ---- what may be said ----


def test_defaults():
    recipe = parse(BASE)
    assert recipe.model.name == schema.DEFAULT_MODEL and recipe.model.max_length == 128
    assert recipe.stages == ("train",) and recipe.seeds == (0, 1, 2)
    assert recipe.method == MethodSettings(name="adamatch") and recipe.method.settings == {}
    assert (recipe.train.max_steps, recipe.train.warmup_steps, recipe.train.bf16) == (200, 0.05, "auto")
    assert (recipe.compare.match, recipe.compare.metric, recipe.compare.threshold) == ("compute", None, "prior")
    with pytest.raises(ValueError, match="frozen"):
        recipe.seeds = (1,)


def test_the_full_form():
    recipe = parse(
        """\
schema: 1
description: one line, 一行
data: {source: fancyzhx/ag_news, config: null, revision: abc123, text: null, label: no}
split: {labeled: 1000, min_per_class: 2, dev: 0, pool: 20_000, test: 2000}
model: {name: sentence-transformers/all-MiniLM-L6-v2, revision: null, max_length: 64}
stages: [train]
method:
  name: adamatch
  threshold: 0.8
  weight: {cosine: {value: 1, end: 0.4}}
  view: {tfidf: {p: 0.5, protected: [refund, 面包]}}
train: {max_steps: 250, learning_rate: 2e-4, bf16: true, warmup_steps: 10}
seeds: [3]
compare: {match: steps, metric: macro_f1, threshold: 0.5}
"""
    )
    assert recipe.data.label == "no" and recipe.split.pool == 20_000 and recipe.train.learning_rate == 2e-4
    assert recipe.method.settings == {
        "threshold": 0.8,
        "weight": cosine(1.0, end=0.4),
        "view": TfidfReplacement(p=0.5, protected=("refund", "面包")),
    }
    assert parse(to_yaml(recipe)) == recipe


def test_short_forms():
    assert parse(BASE + "model: bert-base-uncased").model.name == "bert-base-uncased"
    assert parse(BASE + "method: fixmatch").method == MethodSettings(name="fixmatch")
    assert parse(BASE + "method: {name: pseudo_label, view: tfidf}").method.settings["view"] == TfidfReplacement()
    assert parse(BASE + "method: {view: word_noise}").method.settings["view"] == WordNoise()
    assert parse(BASE + "method: {view: {word_noise: }}").method.settings["view"] == WordNoise()
    assert parse(BASE + "method: {view: null}").method.settings == {"view": None}


@pytest.mark.parametrize(
    ("written", "built"),
    [
        ("2", 2.0),
        ("{constant: {value: 2}}", 2.0),
        ("{linear: {value: 2, start: 0.1}}", linear(2.0, start=0.1)),
        ("{lee: {}}", linear(3.0, start=0.1, end=0.6)),
        ("{sigmoid: {value: 2}}", method_settings.schedules.sigmoid(2.0)),
    ],
)
def test_weights(written, built):
    recipe = parse(BASE + f"method: {{name: adamatch, weight: {written}}}")
    assert recipe.method.settings == {"weight": built}
    assert parse(to_yaml(recipe)) == recipe


def test_settings_at_their_defaults_are_no_settings():
    text = BASE + "method: {name: adamatch, threshold: 0.9, weight: {cosine: {value: 0.3}}, view: {tfidf: {p: 0.3}}}"
    assert parse(text) == parse(BASE)
    assert to_yaml(parse(text)) == ("schema: 1\ndata:\n  source: fancyzhx/ag_news\nsplit:\n  labels_per_class: 10\n")


def test_build_makes_the_callback():
    recipe = parse(BASE + "method: {name: fixmatch, threshold: 0.8, view: null, weight: {cosine: {value: 2}}}")
    callback = recipe.method.build([], seed=3, max_length=64)
    assert isinstance(callback, SemiSupervised) and callback.unlabeled == []
    assert (callback.select.threshold, callback.view, callback.weight) == (0.8, None, cosine(2.0))
    assert (callback.seed, callback.max_length, callback.ratio) == (3, 64, METHODS["fixmatch"].defaults["ratio"])


def test_a_teacher_is_found_from_the_folder_of_the_recipe(tmp_path):
    (tmp_path / "teachers" / "large").mkdir(parents=True)
    text = BASE + "method: {name: distillation, teacher: [teachers/large, owner/name]}"
    recipe = parse(text, folder=tmp_path)
    teacher = recipe.method.build([], seed=0, max_length=None).teacher
    assert isinstance(teacher, FrozenTeacher) and teacher.models == [str(tmp_path / "teachers/large"), "owner/name"]
    assert recipe.method.settings["teacher"] == ("teachers/large", "owner/name")
    assert parse(to_yaml(recipe), folder=tmp_path) == recipe
    column = parse(BASE + "method: {name: distillation, column: soft, temperature: 1}").method
    assert column.build([], seed=0).teacher.column == "soft"


@pytest.mark.filterwarnings("error::FutureWarning")  # no deprecated argument among them
def test_train_arguments():
    assert parse(BASE).train.arguments(auto_bf16=True)["bf16"] is True
    assert parse(BASE + "train: {fp16: true}").train.arguments(auto_bf16=True)["bf16"] is False
    assert parse(BASE + "train: {bf16: true}").train.arguments(auto_bf16=False)["bf16"] is True
    epochs = parse(BASE + "train: {num_train_epochs: 2}").train.arguments(False)
    assert "max_steps" not in epochs and epochs["num_train_epochs"] == 2.0
    made = TrainingArguments(output_dir="unused", use_cpu=True, **parse(BASE).train.arguments(False))
    assert made.get_warmup_steps(200) == 10 and made.max_steps == 200


# ---- nothing drifts apart from the code it speaks of ----


def test_train_settings_exist_in_transformers():
    theirs = {field.name: field.default for field in dataclasses.fields(TrainingArguments)}
    ours = {name: field.default for name, field in TrainSettings.model_fields.items() if name != "labeled_loss"}
    chosen_here = {"max_steps", "num_train_epochs", "per_device_eval_batch_size", "learning_rate", "warmup_steps",
                   "lr_scheduler_type", "bf16", "logging_steps", "activation_checkpointing"}  # fmt: skip
    assert set(ours) <= set(theirs)
    for name in set(ours) - chosen_here:
        assert ours[name] == theirs[name], name
    literals = {name: TrainSettings.model_fields[name].annotation.__args__ for name in ("lr_scheduler_type", "optim")}
    assert set(literals["lr_scheduler_type"]) <= {s.value for s in SchedulerType}
    assert set(literals["optim"]) <= {o.value for o in OptimizerNames}


def test_gone_from_transformers_means_gone():
    theirs = {field.name for field in dataclasses.fields(TrainingArguments)}
    gone = {key for key, why in explaining.REFUSED["train"].items() if why.startswith("gone")}
    assert gone and not gone & theirs


def test_every_setting_has_a_type():
    makers = [m.make for m in METHODS.values()] + [
        f for kind in method_settings.CHOICES.values() for f in kind.values()
    ]
    makers += [getattr(textpl, name) for name in loss_settings.LABELED_LOSSES.values()]
    for make in makers:
        assert set(method_settings.arguments_model(make).model_fields) <= set(method_settings.ARGUMENTS), make


def test_lists_kept_in_step():
    metrics = schema.CompareSettings.model_fields["metric"].annotation.__args__[0].__args__
    assert set(metrics) == {name for names in METRICS.values() for name in names}
    assert set(references.DATA_SUFFIXES) == set(sources.READABLE)


def test_a_key_without_its_section_is_known():
    assert "max_steps=3: unknown key; did you mean 'train.max_steps'?" in refusal(BASE, "max_steps=3")
    assert "ema: unknown key; did you mean 'method.ema'? Valid keys: schema" in refusal(BASE + "ema: false")
    assert "tsa: unknown key; did you mean 'method.tsa'?" in refusal(BASE + "method: uda\ntsa: null")
    for one in ("tsa: null", "revision: x", "encoder: lsa"):  # of another method, of several sections
        assert "unknown key. Valid keys: schema" in refusal(BASE + one), one


def test_what_is_missing_is_shown():
    told = refusal("schema: 1")
    assert "split: is missing; for example `split: {labels_per_class: 10}`" in told
    assert "data: is missing; for example `data: {source: train.jsonl}`" in told


def test_a_recipe_for_another_version_is_told_all_that_is_wrong():
    told = refusal(BASE + 'textpl: ">=9"\ntrain: {max_step: 3}\n')
    assert "line 4: textpl: this recipe is for textpl >=9" in told
    assert "line 5: train.max_step: unknown key; did you mean 'max_steps'?" in told


def test_reading_imports_nothing_heavy():
    code = "import sys, textpl.recipes.parsing; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# ---- refusals: (text after BASE, message with line 4) ----

AT_LINE_4 = {
    # keys
    "method: {treshold: 1}": "method.treshold: unknown key; did you mean 'threshold'? Valid keys: name, threshold",
    "method: {zzz: 1}": "method.zzz: unknown key. Valid keys: name, threshold",
    "methods: uda": "methods: unknown key; did you mean 'method'? Valid keys: schema, textpl, description",
    "model: {naem: x}": "model.naem: unknown key; did you mean 'name'? Valid keys: name, revision, max_length",
    "method: {weight: {cosin: {value: 1}}}": "method.weight.cosin: unknown key; did you mean 'cosine'? Valid",
    "method: {weight: {cosine: {value: 1, ende: 1}}}": "method.weight.cosine.ende: unknown key; did you mean 'end'?",
    "method: {view: {tfidf: {vocabulary: 1}}}": "method.view.tfidf.vocabulary: unknown key. Valid keys: p, prot",
    "method: {view: tfidff}": "method.view.tfidff: unknown key; did you mean 'tfidf'? Valid keys: tfidf, word_noise",
    "method: {weight: {cosine: }}": "method.weight.cosine.value: is missing",
    "method: {seed: 1}": "method.seed: cannot be set in a recipe: write `seeds: [...]`",
    "method: {max_length: 1}": "method.max_length: cannot be set in a recipe: write it under `model`",
    "train: {output_dir: /tmp}": "train.output_dir: cannot be set in a recipe: that is for who runs the recipe",
    "train: {push_to_hub: true}": "train.push_to_hub: cannot be set in a recipe: a recipe publishes nothing",
    "train: {report_to: wandb}": "train.report_to: cannot be set in a recipe: that is for who runs the recipe",
    "train: {resume_from_checkpoint: x}": "cannot be set in a recipe: a recipe starts from no checkpoint",
    "train: {deepspeed: x.json}": "cannot be set in a recipe: a recipe names no configuration file",
    "train: {fsdp_config: x.json}": "cannot be set in a recipe: a recipe names no configuration file",
    "train: {seed: 1}": "train.seed: cannot be set in a recipe: write `seeds: [...]` at the top",
    "train: {group_by_length: true}": "cannot be set in a recipe: gone from transformers 5",
    "train: {learning_rat: 1}": "train.learning_rat: unknown key; did you mean 'learning_rate'? Valid keys: max_",
    # kinds of values
    "train: {max_steps: '20'}": "train.max_steps: expected a whole number, found the text '20'; remove the quotes",
    "train: {max_steps: 2.5}": "train.max_steps: expected a whole number, found the number 2.5",
    "train: {max_steps: true}": "train.max_steps: expected a whole number, found true",
    "train: {learning_rate: fast}": "train.learning_rate: expected a number, found the text 'fast'",
    "train: {learning_rate: true}": "train.learning_rate: expected a number, found true",
    "train: {learning_rate: 1e999}": "train.learning_rate: expected a finite number, found the number inf",
    "train: {learning_rate: .nan}": "train.learning_rate: expected a number, found the text '.nan'",
    "train: {learning_rate: }": "train.learning_rate: expected a number, found nothing (null)",
    "train: {fp16: yes}": "train.fp16: expected true or false, found the text 'yes'",
    "train: {bf16: 1}": "train.bf16: expected true, false or auto, found the number 1",
    "train: {optim: adamw}": "train.optim: expected 'adamw_torch', 'adamw_torch_fused',",
    "train: {lr_scheduler_type: cosin}": "found the text 'cosin'; did you mean 'cosine'?",
    "train: [1]": "train: expected a mapping of keys to values, found the list [1]",
    "train: ": "train: expected a mapping of keys to values, found nothing (null)",
    "model: {revision: 123456}": "model.revision: expected text, found the number 123456; put it in quotes",
    "model: ''": "model.name: expected some text, found the text ''",
    "description: {a: 1}": "description: expected text, found a mapping with a",
    'description: "a\\nb"': "description: expected one line of text, found the text 'a\\nb'",
    "seeds: 1": "seeds: expected a list, found the number 1",
    "seeds: [x]": "seeds[0]: expected a whole number, found the text 'x'",
    "seeds: []": "seeds: expected 1 to 1,000 different whole numbers from 0",
    "seeds: [1, 1]": "seeds: expected 1 to 1,000 different whole numbers from 0",
    "seeds: [-1]": "seeds: expected 1 to 1,000 different whole numbers from 0",
    "compare: {match: step}": "compare.match: expected 'compute' or 'steps', found the text 'step'; did you mean",
    "compare: {threshold: 1}": "compare.threshold: expected prior, or a number between 0 and 1, found the number 1",
    # ranges and combinations
    "train: {max_steps: 0}": "train.max_steps: expected 1 or more, found the number 0",
    "train: {learning_rate: 0}": "train.learning_rate: expected more than 0, found the number 0",
    "train: {adam_beta1: 1}": "train.adam_beta1: expected less than 1, found the number 1",
    "train: {max_steps: 1, num_train_epochs: 1}": "needs exactly one of max_steps and num_train_epochs, found both",
    "train: {max_steps: null}": "train: needs exactly one of max_steps and num_train_epochs, found neither",
    "train: {warmup_steps: 1.5}": "train: warmup_steps=1.5 is neither a share below 1 nor a whole number of steps",
    "train: {fp16: true, bf16: true}": "train: fp16 and bf16 exclude each other",
    "method: {threshold: 1.5}": "method.threshold: expected 1 or less, found the number 1.5",
    "method: {weight: -1}": "method.weight: expected 0 or more, found the number -1",
    "method: {weight: fast}": "method.weight: expected a number, or one schedule such as {cosine: {value: 1.0}}",
    "method: {weight: {}}": "method.weight: expected exactly one of constant, linear, cosine, sigmoid, lee, found",
    "method: {view: {tfidf: , word_noise: }}": "method.view: expected exactly one of tfidf, word_noise, found",
    "method: {view: [tfidf]}": "method.view: expected one view, tfidf or word_noise, or null; several are",
    "method: {weight: {linear: {value: 1, start: 0.5, end: 0.2}}}": "method.weight: start=0.5, end=0.2: a ramp needs",
    "method: {view: {tfidf: {protected: [' ']}}}": "method.view: protected=(' ',) is no tuple of words",
    "method: {view: {tfidf: {protected: refund}}}": "method.view.tfidf.protected: expected a list, found the text",
    "method: {name: softmatch, prior: even}": "method.prior: expected labeled, uniform, null, or a list",
    "method: {name: softmatch, prior: [0.5, 2]}": "method.prior: expected labeled, uniform, null, or a list",
    "method: {name: uda, tsa: lin}": "method.tsa: expected 'auto', 'linear', 'log' or 'exp', found the text 'lin'",
    "method: adamach": "method.name: unknown method 'adamach'; did you mean 'adamatch'? Known: pseudo_label,",
    "method: 3": "method: expected a mapping of keys to values, found the number 3",
    "method: distillation": "method: distillation needs exactly one of teacher and column",
    "method: {name: distillation, teacher: []}": "method.teacher: expected a Hub id or folder, or a list of these",
    "method: {name: distillation, teacher: ../x}": "method.teacher: '../x' leads out of the recipe's folder",
    "stages: [tran]": "stages: unknown stage 'tran': there are label, clean and train",
    "stages: []": "stages: write [train], [label, train] to label the pool",
    "stages: [train, label]": "stages: write [train], [label, train] to label the pool",
    "stages: [clean, label, train]": "or [clean, train] to clean the labelled rows first",
    "clean: {nois: missing}": "clean.nois: unknown key; did you mean 'noise'?",
    "clean: {noise: swaps}": "clean.noise: expected 'auto', 'missing', 'spurious' or 'swap', found the text 'swaps'",
    "clean: {relabel: 0.5, drop: 0.9}": "clean: drop=0.9 never acts, because relabel=0.5 comes before it",
    "noise: {kind: mising, rate: 0.3}": "noise.kind: expected 'missing', 'spurious', 'swap' or 'symmetric', found",
    "noise: {kind: missing}": "noise.rate: is missing",
    "noise: {kind: missing, rate: 1}": "noise.rate: expected less than 1, found the number 1",
    "label: {method: hld}": "label.method: unknown method 'hld'; did you mean 'hdl'?",
    "label: {class_prior: gould}": "label.class_prior: expected none, gold, uniform",
    "label: {confidense: 0.5}": "label.confidense: unknown key; did you mean 'confidence'?",
    "train: {labeled_loss: gcee}": "train.labeled_loss.name: unknown loss 'gcee'; did you mean 'gce'? Known: forward",
    "train: {labeled_loss: {q: 1}}": "train.labeled_loss.name: unknown loss None. Known: forward_correction, gce",
    "train: {labeled_loss: {name: gce, k: 1}}": "train.labeled_loss.k: unknown key. Valid keys: name, q",
    "train: {labeled_loss: {name: sce, aa: 1}}": "train.labeled_loss.aa: unknown key; did you mean 'a'? Valid keys:",
    "train: {labeled_loss: {name: gce, q: 2}}": "train.labeled_loss.q: expected 1 or less, found the number 2",
    "train: {labeled_loss: co_teaching}": "train.labeled_loss.noise_rate: is missing",
    "train: {labeled_loss: {name: co_teaching, noise_rate: [0.1, 1]}}": "noise_rate: expected a share from 0 to below",
    "train: {labeled_loss: {name: co_teaching, noise_rate: 0.1, seed: 1}}": "labeled_loss.seed: unknown key. Valid",
    "train: {labeled_loss: {name: forward_correction, transition: guess}}": "transition: expected estimate, or a list",
    "train: {labeled_loss: {name: forward_correction, transition: [[1, 0], [1, 1]]}}": "Row 1 of the transition matrix",
    "train: {labeled_loss: {name: forward_correction, transition: estimate, false_positive: 0.1}}": "finds all rates",
    "train: {labeled_loss: 3}": "train.labeled_loss: expected a mapping of keys to values, found the number 3",
    "train: {labeled_loss: gce, label_smoothing_factor: 0.1}": "label_smoothing_factor and labeled_loss exclude each",
    "method: {name: none, threshold: 1}": "method: none takes no settings",
    # references
    "model: /models/x": "model.name: '/models/x' is no path inside the recipe's folder",
    "model: ~/x": "model.name: '~/x' is no path inside the recipe's folder",
    "model: 'C:\\x'": "model.name: 'C:\\x' is no path inside the recipe's folder",
    "model: https://huggingface.co/x/y": "model.name: 'https://huggingface.co/x/y' is a URL",
    "model: a/../../x": "model.name: 'a/../../x' leads out of the recipe's folder",
    "model: a/b/c": "model.name: no file or folder 'a/b/c' beside the recipe; it may also be a Hub id 'owner/name'",
    "model: {name: recipes, revision: main}": "model: revision would have no effect: 'recipes' does not",
    # YAML
    "a: [1": "not valid YAML: expected ',' or ']'",
    "a: &x 1": "not valid YAML: anchors and aliases (&x, *x) are not allowed",
    "a: *x": "not valid YAML: anchors and aliases (&x, *x) are not allowed",
    "a: !!python/object/apply:os.system [x]": "not valid YAML: tags (!x) are not allowed",
    "a: !!str 1": "not valid YAML: tags (!x) are not allowed",
    "a: " + "[" * 21: "not valid YAML: nested more than 20 deep",
    "a: \x01": "not valid YAML: character 1 is not allowed",
    "schema: 1": "schema: stands here twice (first: line 1)",
    "1: 1": "recipe: keys must be text; put this one in quotes",
    "? [1]\n: 1": "recipe: keys must be text; put this one in quotes",
    "---\na: 1": "not valid YAML: one document only",
}  # fmt: skip


def test_label_stage_learns_its_labels_unless_told_otherwise():
    recipe = parse(BASE + "stages: [label, train]\nlabel: {method: hdl, encoder: lsa, confidence: 0.6}\n")
    assert recipe.method.name == "distillation"
    assert recipe.method.settings == {"column": "probabilities", "column_kind": "probabilities", "temperature": 1.0}
    assert parse(to_yaml(recipe)) == recipe
    changed = parse(BASE + "stages: [label, train]\nmethod: {ratio: 3}\n")
    assert changed.method.name == "distillation" and changed.method.settings["ratio"] == 3
    assert "fixmatch would not learn the labels" in refusal(BASE + "stages: [label, train]\nmethod: fixmatch\n")
    assert "no effect without the stage" in refusal(BASE + "label: {k: 5}")


def test_clean_stage_needs_no_pool():
    recipe = parse(BASE + "stages: [clean, train]\nclean: {encoder: lsa, noise: missing, drop: 0.9}\n")
    assert recipe.method.name == "none" and not recipe.has_pool and parse(to_yaml(recipe)) == recipe
    assert (recipe.tried, recipe.baseline) == ("cleaned labels", "noisy labels")
    with_loss = parse(BASE + "stages: [clean, train]\ntrain: {labeled_loss: gce}")
    assert with_loss.tried == "cleaned labels" and with_loss.question == "Did the cleaning help?"
    assert "fixmatch needs a pool" in refusal(BASE + "stages: [clean, train]\nmethod: fixmatch")
    assert "no effect without the stage" in refusal(BASE + "clean: {noise: missing}")
    estimate = "train: {labeled_loss: forward_correction}"
    assert "as they are given" in refusal(BASE + "stages: [clean, train]\n" + estimate)
    assert "weights of cleaned labels" in refusal(BASE + "stages: [clean, train]\ntrain: {label_smoothing_factor: 0.1}")
    assert parse(BASE + "method: none\nclean: {encoder: lsa}\n" + estimate).question == "Did the loss help?"


def test_noise_is_put_in_where_the_labels_are_right():
    recipe = parse(BASE + "noise: {kind: swap, rate: 0.2, encoder: lsa}\n")
    assert recipe.noise.seed == 0 and parse(to_yaml(recipe)) == recipe
    assert parse(BASE).question == "Did the unlabelled text help?" and parse(BASE).baseline == "labels only"
    noisy = BASE.replace("ag_news}", "ag_news, truth: gold}")
    assert parse(noisy).data.truth == "gold"
    assert "says that they are noisy" in refusal(noisy + "noise: {kind: swap, rate: 0.2}")


@pytest.mark.parametrize(
    ("written", "built"),
    [
        ("gce", GeneralizedCrossEntropy()),
        ("{name: gce, q: 0.3}", GeneralizedCrossEntropy(0.3)),
        ("{name: sce, a: 1, b: 2}", SymmetricCrossEntropy(1.0, 2.0)),
        ("{name: elr, lam: 1, start: 0.2}", EarlyLearning(1.0, start=0.2)),
        ("{name: co_teaching, noise_rate: [0.1, 0.2], missing_rate: 0.1}", CoTeaching([0.1, 0.2], missing_rate=0.1)),
        ("{name: forward_correction, transition: [[0.9, 0.1], [0, 1]]}", ForwardCorrection([[0.9, 0.1], [0, 1]])),
        (
            "{name: forward_correction, false_positive: 0.1, false_negative: [0.1, 0.2]}",
            ForwardCorrection(false_positive=0.1, false_negative=[0.1, 0.2]),
        ),
    ],
)
def test_labeled_losses(written, built):
    recipe = parse(BASE + f"train: {{labeled_loss: {written}}}")
    loss = recipe.train.labeled_loss.build()
    assert getattr(loss, "identity", loss) == getattr(built, "identity", built)
    assert "labeled_loss" not in recipe.train.arguments(False)
    assert parse(to_yaml(recipe)) == recipe


def test_noise_is_estimated_where_the_recipe_says_so():
    for written in ("forward_correction", "{name: forward_correction, transition: estimate}"):
        recipe = parse(BASE + f"train: {{labeled_loss: {written}}}")
        assert recipe.train.labeled_loss.estimates and parse(to_yaml(recipe)) == recipe
        loss = recipe.train.labeled_loss.build(false_positive=0.2)
        assert loss.identity == ForwardCorrection(false_positive=0.2).identity


def test_a_recipe_without_a_method_tries_a_loss():
    recipe = parse(BASE + "method: none\ntrain: {labeled_loss: gce}")
    assert recipe.method == MethodSettings(name="none") and parse(to_yaml(recipe)) == recipe
    assert "method: none leaves nothing to compare" in refusal(BASE + "method: none")
    assert "write tsa: null" in refusal(BASE + "method: uda\ntrain: {labeled_loss: gce}")
    with_loss = "train: {labeled_loss: gce}"
    assert "write asymmetric: false" in refusal(BASE + f"method: cap\n{with_loss}")
    assert parse(BASE + f"method: {{name: cap, asymmetric: false}}\n{with_loss}").method.name == "cap"
    assert parse(BASE + "method: {name: uda, tsa: null}\ntrain: {labeled_loss: gce}").method.settings == {"tsa": None}
    assert "none would not learn the labels" in refusal(BASE + "stages: [label, train]\nmethod: none")


@pytest.mark.parametrize("text", AT_LINE_4)
def test_refusals_name_the_line(text):
    message = refusal(BASE + text)
    assert message.startswith("recipe.yaml, line 4: ") and AT_LINE_4[text] in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: a recipe is a mapping of keys to values, this is nothing (null)"),
        ("- a", "line 1: a recipe is a mapping of keys to values, this is the list ['a']"),
        ("{}", "line 1: schema: is missing; start the recipe with `schema: 1`"),
        (BASE.replace("1", "2", 1), "line 1: schema: this textpl reads schema 1, not 2"),
        (BASE.replace("1", "true", 1), "line 1: schema: expected a whole number, found true"),
        (BASE.replace("source", "sorce"), "line 2: data.source: is missing"),
        (
            BASE.replace("10", "10, labeled: 5"),
            "line 3: split: needs exactly one of labels_per_class and labeled, found",
        ),
        (BASE.replace("labels_per_class: 10", "dev: 1"), "line 3: split: needs exactly one of labels_per_class and"),
        (BASE.replace("10", "10, min_per_class: 2"), "line 3: split: min_per_class goes with labeled"),
        (
            BASE.replace("fancyzhx/ag_news", "imdb"),
            "data.source: no file or folder 'imdb' beside the recipe; it may also",
        ),
        (BASE.replace("fancyzhx/ag_news", "a/b.csv"), "data.source: no file or folder 'a/b.csv' beside the recipe"),
        (
            BASE.replace("fancyzhx/ag_news", "bundled:../x"),
            "data.source: no file or folder 'bundled:../x' beside the recipe",
        ),
        (BASE.replace("fancyzhx/ag_news", "hf://a/b"), "line 2: data.source: 'hf://a/b' is a URL"),
        (BASE.replace("ag_news", "ag_news\0"), "line 2: not valid YAML: character 0 is not allowed"),
        (
            BASE.replace("fancyzhx/ag_news", "bundled:tickets, config: x"),
            "line 2: data: config would have no effect: 'bundled:tickets' does not come from the Hub",
        ),
    ],
)
def test_refusals_of_the_head(text, message):
    assert message in refusal(text)


def test_several_errors_are_listed_by_line():
    message = refusal(BASE + "foo: 1\ntrain:\n  max_steps: x\n  lr: 1\nmethod: {treshold: 1}\n", "split.pool=-1")
    lines = [re.match(r"(.*?): (\S*)", line).groups() for line in message.splitlines()]
    assert lines == [
        ("recipe.yaml, line 4", "foo:"),
        ("recipe.yaml, line 6", "train.max_steps:"),
        ("recipe.yaml, line 7", "train.lr:"),
        ("recipe.yaml, line 8", "method.treshold:"),
        ("--set split.pool=-1", "expected"),
    ]


# ---- paths ----


def test_paths_stay_in_the_folder(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "recipe"
    (outside / "data").mkdir(parents=True)
    (outside / "train.csv").write_text("x")
    (folder / "mixed").mkdir(parents=True)
    (folder / "own.csv").write_text("x")
    (folder / "link").symlink_to(outside)
    (folder / "link.csv").symlink_to(outside / "train.csv")
    (folder / "gone").symlink_to(outside / "gone")
    (folder / "mixed" / "train.csv").symlink_to(outside / "train.csv")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "inner").symlink_to(folder / "own.csv")
    for reference in ("link", "link/data", "link.csv", "mixed", "gone"):
        text = BASE.replace("fancyzhx/ag_news", reference)
        assert "leads out of the recipe's folder" in refusal(text, folder=folder), reference
    assert "cannot be opened" in refusal(BASE.replace("fancyzhx/ag_news", "loop"), folder=folder)
    assert "cannot be opened" in refusal(BASE.replace("fancyzhx/ag_news", "x" * 300), folder=folder)
    for reference in ("own.csv", "./own.csv", "inner"):
        assert parse(BASE.replace("fancyzhx/ag_news", reference), folder=folder).data.source == reference
        assert locate(reference, folder) == folder / reference
    assert locate("fancyzhx/ag_news", folder) == "fancyzhx/ag_news"
    with pytest.raises(ValueError, match="leads out"):
        locate("../outside", folder)


def test_a_local_path_wins_over_a_hub_id(tmp_path):
    (tmp_path / "fancyzhx" / "ag_news").mkdir(parents=True)
    (tmp_path / "recipe.yaml").write_text(BASE)
    loaded = load_recipe(tmp_path)
    assert loaded.locate(loaded.recipe.data.source) == tmp_path / "fancyzhx/ag_news"


# ---- overrides ----


@pytest.mark.parametrize(
    ("text", "override", "found"),
    [
        ("method: adamatch", "method.threshold=0.8", lambda r: r.method.settings == {"threshold": 0.8}),
        ("", "method.threshold=0.8", lambda r: r.method.settings == {"threshold": 0.8}),
        ("method: {name: uda, ratio: 2}", "method=fixmatch", lambda r: r.method == MethodSettings(name="fixmatch")),
        ("method: {view: tfidf}", "method.view.tfidf.p=0.5", lambda r: r.method.settings["view"].p == 0.5),
        ("", "method.view=null", lambda r: r.method.settings == {"view": None}),
        ("model: x/y", "model.max_length=32", lambda r: (r.model.name, r.model.max_length) == ("x/y", 32)),
        ("", "train.max_steps=20", lambda r: r.train.max_steps == 20),
        ("", "train.learning_rate=1e-5", lambda r: r.train.learning_rate == 1e-5),
        ("", "split.labeled=100", lambda r: (r.split.labeled, r.split.labels_per_class) == (100, None)),
        ("train: {max_steps: 9}", "train.num_train_epochs=2", lambda r: r.train.max_steps is None),
        ("train: {num_train_epochs: 2}", "train.max_steps=9", lambda r: r.train.num_train_epochs is None),
        ("", "seeds=[5, 6]", lambda r: r.seeds == (5, 6)),
        ("", "data.text=a=b", lambda r: r.data.text == "a=b"),
        ("", "compare={match: steps}", lambda r: r.compare.match == "steps"),
        ("method: {name: distillation, teacher: a}", "method.column=c", lambda r: "column" in r.method.settings),
    ],
)  # fmt: skip
def test_overrides(text, override, found):
    assert found(parse(BASE + text, override))


def test_overrides_can_give_what_the_file_leaves_out():
    assert parse("schema: 1", "data.source=a/b", "split.labeled=5").split.labeled == 5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.treshold=0.9", "--set method.treshold=0.9: unknown key; did you mean 'threshold'? Valid keys: name,"),
        ("foo.bar=1", "--set foo.bar=1: foo: unknown key. Valid keys: schema"),
        ("train.max_steps='20'", "--set train.max_steps='20': expected a whole number, found the text '20'"),
        ("train.max_steps", "--set train.max_steps: write KEY=VALUE, for example --set train.max_steps=20"),
        ("train..x=1", "--set train..x=1: write KEY=VALUE"),
        ("train.max_steps=[", "--set train.max_steps=[: not valid YAML:"),
        ("train.max_steps=&a 1", "--set train.max_steps=&a 1: not valid YAML: anchors"),
        ("seeds.0=1", "--set seeds.0=1: seeds is the list [4], in which nothing can be set"),
        ("data.source=/no/such", "--set data.source=/no/such: there is no file or folder '/no/such'"),
        ("method={name: uda, tau: 1}", "--set method={name: uda, tau: 1}: method.tau: unknown key"),
        ("method.weight.cosine.end=0.3", "--set method.weight.cosine.end=0.3: method.weight.cosine.value: is missing"),
        ("train.output_dir=x", "--set train.output_dir=x: cannot be set in a recipe"),
    ],
)
def test_refused_overrides(override, message):
    assert refusal(BASE + "seeds: [4]", override).startswith(message)


def test_two_overrides_do_not_undo_each_other():
    assert "found both" in refusal(BASE, "split.labeled=5", "split.labels_per_class=2")
    assert parse(BASE, "train.max_steps=5", "train.max_steps=6").train.max_steps == 6


# ---- where a recipe comes from ----


def test_sources(tmp_path, monkeypatch):
    folder = tmp_path / "news"
    folder.mkdir()
    for path in (folder / "recipe.yaml", tmp_path / "other.yml"):
        path.write_text(BASE)
    loaded = load_recipe(folder, overrides=["train.max_steps=5"])
    assert (loaded.name, loaded.folder, loaded.text, loaded.recipe.train.max_steps) == ("news", folder, BASE, 5)
    assert load_recipe(str(folder / "recipe.yaml")).name == "news"
    assert load_recipe(tmp_path / "other.yml").name == "other"
    monkeypatch.setattr(parsing, "bundled_recipes", lambda: {"quickstart": tmp_path / "other.yml"})
    monkeypatch.chdir(tmp_path)
    assert load_recipe("quickstart").recipe == load_recipe("news").recipe
    (tmp_path / "quickstart").mkdir()  # without recipe.yaml it does not hide the bundled one
    assert load_recipe("quickstart").folder == tmp_path
    (tmp_path / "quickstart" / "recipe.yaml").write_text(BASE)
    assert load_recipe("quickstart").folder == Path("quickstart")
    with pytest.raises(
        RecipeError, match=r"No recipe 'quickstar'.*did you mean 'quickstart'\? \(bundled recipes: quick"
    ):
        load_recipe("quickstar")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("big.yaml", b"#" * (64 * 1024 + 1), "big.yaml is larger than 64 KiB"),
        ("latin.yaml", b"description: caf\xe9", "is not UTF-8 text"),
        ("recipe.txt", b"", "its name must end in .yaml"),
        ("bad.yaml", b"schema: 2", "bad.yaml, line 1: schema: this textpl reads schema 1"),
    ],
)
def test_refused_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        load_recipe(tmp_path / name)


def test_refused_sources(tmp_path):
    with pytest.raises(RecipeError, match="hf://owner is no recipe on the Hub|'hf://owner' is no recipe on the Hub"):
        load_recipe("hf://owner")
    with pytest.raises(RecipeError, match=r"holds no recipe\.yaml"):
        load_recipe(tmp_path)
    with pytest.raises(RecipeError, match="no file, no folder and no bundled name"):
        load_recipe(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", [*bundled_recipes().values(), *sorted(ROOT.glob("recipes/*/recipe.yaml"))], ids=str)
def test_our_own_recipes(path):
    loaded = load_recipe(path)
    assert len(loaded.text.splitlines()) <= 30
    assert parse(to_yaml(loaded.recipe), folder=loaded.folder) == loaded.recipe
    if loaded.recipe.has_pool:
        loaded.recipe.method.build([], seed=0, max_length=loaded.recipe.model.max_length)


# ---- properties ----

awkward = st.sampled_from(
    ["no", "1e5", "null", "~", "012", "12:30", "2024-01-01", "- a", "a: b", "# x", "0x1", "面包 "]
)
shares = st.floats(0, 1)
positive = st.floats(1e-12, 1e6)


def _is_line(text):
    try:
        return bool(field_types.one_line(text))
    except ValueError:
        return False


names = st.one_of(st.text(min_size=1, max_size=12).filter(_is_line), awkward)


def some(fields):
    return st.fixed_dictionaries({}, optional=fields)


ramps = st.tuples(shares, shares).map(sorted).map(lambda pair: {"start": pair[0], "end": pair[1]})
weights = st.one_of(
    positive,
    st.builds(lambda v: {"constant": {"value": v}}, positive),
    st.builds(
        lambda kind, v, r: {kind: {"value": v, **r}}, st.sampled_from(["linear", "cosine", "lee"]), positive, ramps
    ),
    st.builds(lambda v, e: {"sigmoid": {"value": v, "end": e}}, positive, shares),
)
views = st.one_of(
    st.sampled_from([None, "tfidf", "word_noise"]),
    st.builds(lambda p, n: {"tfidf": {"p": p, "negators": n}}, shares, st.booleans()),
    st.builds(
        lambda d, w: {"word_noise": {"drop": d, "protected": w}}, shares, st.lists(st.just("refund"), max_size=2)
    ),
)
methods = st.one_of(
    st.sampled_from([name for name in METHODS if name != "distillation"]),
    some({"threshold": shares, "weight": weights, "view": views, "ratio": st.integers(1, 9)}),
    some({"prior": st.one_of(st.none(), st.lists(shares, min_size=1, max_size=3)), "n_sigma": positive}).map(
        lambda d: d | {"name": "softmatch"}
    ),
    some({"decay": st.one_of(st.none(), st.floats(0, 0.99))}).map(lambda d: d | {"name": "mean_teacher"}),
    names.map(lambda column: {"name": "distillation", "column": column}),
)
trains = some(
    {
        "learning_rate": positive,
        "warmup_steps": st.one_of(st.integers(0, 50), st.floats(0, 0.99)),
        "bf16": st.sampled_from([True, False, "auto"]),
        "optim": st.sampled_from(["sgd", "adamw_torch"]),
    }
)
steps = st.one_of(st.just({}), st.just({"max_steps": 7}), st.just({"num_train_epochs": 1.5}))
recipes = st.fixed_dictionaries(
    {
        "schema": st.just(1),
        "data": st.fixed_dictionaries({"source": st.just("a/b")}, optional={"text": names, "config": names}),
        "split": st.one_of(
            st.builds(lambda n: {"labels_per_class": n}, st.integers(1, 99)),
            st.builds(lambda n, k: {"labeled": n, "min_per_class": k}, st.integers(1, 99), st.integers(0, 3)),
        ),
        "train": st.builds(lambda a, b: a | b, trains, steps),
        "method": methods,
    },
    optional={
        "description": names,
        "seeds": st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
        "model": st.one_of(st.just("x/y"), some({"revision": names, "max_length": st.integers(2, 512)})),
        "compare": some({"match": st.sampled_from(["compute", "steps"]), "threshold": st.just(0.25)}),
    },
)


@given(recipes)
@settings(max_examples=150, deadline=None)
def test_round_trip(data):
    recipe = Recipe.model_validate(data)
    text = to_yaml(recipe)
    assert parse(text) == recipe
    assert to_yaml(parse(text)) == text
    assert parse(yaml.dump(data, Dumper=yaml_text.Dumper, allow_unicode=True)) == recipe


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
sections = st.sampled_from(
    [[], ["data"], ["split"], ["model"], ["method"], ["method", "weight"], ["train"], ["compare"]]
)
known = st.sampled_from(
    ["schema", "source", "name", "weight", "view", "cosine", "prior", "teacher", "seeds", "max_steps"]
)


@given(sections, st.one_of(known, st.text(max_size=5)), anything)
@settings(max_examples=200, deadline=None)
def test_anything_else_is_a_recipe_error(section, key, value):
    data = {"schema": 1, "data": {"source": "a/b"}, "split": {"labeled": 9}}
    place = data
    for name in section:
        place = place.setdefault(name, {})
    place[key] = value
    try:
        parse(yaml.dump(data, Dumper=yaml_text.Dumper, allow_unicode=True))
    except RecipeError as error:
        assert all(re.match(r"recipe\.yaml, line \d+: ", line) for line in str(error).split("\n"))


@given(st.text(alphabet="a:-[]{}&*!?|>#%@'\"\\ \n\t1,~<", max_size=40), st.integers(0, len(BASE)))
@settings(max_examples=200, deadline=None)
def test_broken_text_is_a_recipe_error(noise, at):
    with contextlib.suppress(RecipeError):
        parse(BASE[:at] + noise + BASE[at:])
