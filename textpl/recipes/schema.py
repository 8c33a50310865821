"""What a recipe may say: strict, frozen models of the YAML file, with their defaults.

A recipe is data from strangers. Nothing in it names code, and no path in it leaves the recipe's folder.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from textpl.recipes import field_types as ft
from textpl.recipes.expected import Expected
from textpl.recipes.loss_settings import LossSettings
from textpl.recipes.method_settings import NO_METHOD, MethodSettings
from textpl.recipes.references import check_hub_settings
from textpl.recipes.stage_settings import DEFAULT_MODEL, CleanSettings, LabelSettings, NoiseSettings, check_stages
from textpl.recipes.tune_settings import TuneSettings
from textpl.recipes.versions import check_version

# The method where the pool comes labelled: soft labels as they are, they are calibrated already.
LEARN_LABELS = {
    "name": "distillation", "column": "probabilities", "column_kind": "probabilities", "temperature": 1.0
}  # fmt: skip
MAX_SEEDS = 1000


class DataSettings(ft.Strictly):
    """Where the texts come from; the names of the columns are found when they are not given."""

    source: ft.DataSource
    config: ft.Line | None = None
    revision: ft.Line | None = None
    text: ft.Line | None = None
    label: ft.Line | None = None
    delimiter: Annotated[str, Field(max_length=10)] | None = None  # in a string; "": each is one label
    unlabeled_values: ft.Texts | None = None  # what stands where there is no label, such as "-1"
    empty: Literal["none", "unlabeled"] | None = None  # what an empty cell means where rows have several labels
    truth: ft.Line | None = None  # column with the right labels, where `label` is known to be noisy

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        check_hub_settings(self.source, ft.folder_of(info), config=self.config, revision=self.revision)
        return self


class SplitSettings(ft.Strictly):
    """How many rows of each kind; arguments of `textpl.splits.make_split`."""

    labels_per_class: ft.Count | None = None
    labeled: ft.Count | None = None
    min_per_class: ft.Size = 1
    dev: ft.Size = 0
    pool: ft.Count | None = None
    test: ft.Count | None = None
    groups: ft.Line | None = None  # column of what stays together, such as the document that texts are windows of

    @model_validator(mode="after")
    def _check(self) -> Self:
        ft.check_exclusive("split", self)
        if self.labeled is None and self.min_per_class != 1:
            raise ValueError("min_per_class goes with labeled; labels_per_class is a minimum already")
        return self


class ModelSettings(ft.Strictly):
    """The classifier to fine-tune; a plain string is its name."""

    name: ft.ModelName = DEFAULT_MODEL
    revision: ft.Line | None = None
    max_length: Annotated[int, Field(ge=2, le=10**6)] = 128
    layers: ft.Count | None = None  # so many of its layers are kept, evenly spaced: a small student for distillation
    # The word table stays as it is: for models in which it dwarfs the rest, such as multilingual ones.
    freeze: Literal["embeddings"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        check_hub_settings(self.name, ft.folder_of(info), revision=self.revision)
        return self


class TrainSettings(ft.Strictly):
    """The training arguments a recipe may set; see `transformers.TrainingArguments`. `labeled_loss` is textpl's."""

    max_steps: ft.Steps | None = 200
    num_train_epochs: Annotated[float, Field(gt=0, le=10_000)] | None = None
    per_device_train_batch_size: ft.Batch = 8
    per_device_eval_batch_size: ft.Batch = 64
    gradient_accumulation_steps: ft.Batch = 1
    learning_rate: ft.Positive = 2e-4
    weight_decay: ft.NonNegative = 0.0
    warmup_steps: ft.NonNegative = 0.05  # below 1: a share of the run
    lr_scheduler_type: Literal[
        # Those of transformers.SchedulerType that need neither settings of their own nor an evaluation.
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"
    ] = "cosine"  # fmt: skip
    max_grad_norm: ft.NonNegative = 1.0
    adam_beta1: ft.BelowOne = 0.9
    adam_beta2: ft.BelowOne = 0.999
    adam_epsilon: ft.Positive = 1e-8
    # Those that need no further package.
    optim: Literal["adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"] = "adamw_torch_fused"
    label_smoothing_factor: ft.BelowOne = 0.0
    activation_checkpointing: bool = False
    bf16: Annotated[bool | Literal["auto"], ft.told_as("true, false or auto")] = "auto"
    fp16: bool = False
    logging_steps: ft.Positive = 0.1  # below 1: a share of the run
    dataloader_num_workers: Annotated[int, Field(ge=0, le=64)] = 0
    labeled_loss: LossSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _epochs_replace_default_steps(cls, given: Any) -> Any:
        has_epochs = isinstance(given, dict) and given.get("num_train_epochs") is not None
        return {"max_steps": None} | given if has_epochs else given

    @model_validator(mode="after")
    def _check(self) -> Self:
        ft.check_exclusive("train", self)
        for name, value in (("warmup_steps", self.warmup_steps), ("logging_steps", self.logging_steps)):
            if value > 1 and value % 1:
                raise ValueError(f"{name}={value} is neither a share below 1 nor a whole number of steps")
        if self.fp16 and self.bf16 is True:
            raise ValueError("fp16 and bf16 exclude each other")
        if self.labeled_loss is not None and self.label_smoothing_factor > 0:
            raise ValueError("label_smoothing_factor and labeled_loss exclude each other")
        return self

    def arguments(self, auto_bf16: bool) -> dict[str, Any]:
        """Keywords of `TrainingArguments`; `auto_bf16` is what `bf16: auto` means on this machine."""
        values = {name: value for name, value in self if value is not None and name != "labeled_loss"}
        if self.bf16 == "auto":
            values["bf16"] = auto_bf16 and not self.fp16
        return values


class CompareSettings(ft.Strictly):
    """How labels-only is compared with the method; arguments of `textpl.compare`."""

    match: Literal["compute", "steps"] = "compute"
    # Also what label.encoder makes of the test rows, nothing trained. auto: where the recipe reads that encoder anyway.
    embeddings: Annotated[bool | Literal["auto"], ft.told_as("true, false or auto")] = "auto"
    metric: Literal["accuracy", "macro_f1", "micro_f1", "subset_accuracy"] | None = None
    threshold: Annotated[ft.Between | Literal["prior"], ft.told_as("prior, or a number between 0 and 1")] = "prior"


def _seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not 0 < len(seeds) <= MAX_SEEDS or len(set(seeds)) < len(seeds) or not all(0 <= s < 2**32 for s in seeds):
        raise ft.expected(f"1 to {MAX_SEEDS:,} different whole numbers from 0 to 2**32 - 1")
    return seeds


def _version(version: int) -> int:
    if version != 1:
        raise ValueError(f"this textpl reads schema 1, not {version}")
    return version


class Recipe(ft.Strictly):
    """A whole recipe; what it leaves out has the defaults given here."""

    schema_version: Annotated[int, AfterValidator(_version)] = Field(alias="schema")
    textpl: Annotated[ft.Line, AfterValidator(check_version)] | None = None  # versions it is for, such as ">=0.1,<1"
    description: Annotated[str, AfterValidator(ft.one_line)] = ""
    data: DataSettings
    split: SplitSettings
    model: ModelSettings = ModelSettings()
    stages: Annotated[ft.Texts, AfterValidator(check_stages)] = ("train",)
    label: LabelSettings = LabelSettings()
    clean: CleanSettings = CleanSettings()
    noise: NoiseSettings | None = None
    method: MethodSettings = Field(default_factory=MethodSettings)
    train: TrainSettings = TrainSettings()
    seeds: Annotated[ft.Numbers, AfterValidator(_seeds)] = (0, 1, 2)
    compare: CompareSettings = CompareSettings()
    tune: TuneSettings = {}  # what `textpl run --tune` chooses among, such as method.weight: [0.1, 0.3, 1.0]
    expected: Expected | None = None

    @property
    def has_pool(self) -> bool:
        """Whether anything is learnt from unlabelled text."""
        return self.method.name != NO_METHOD

    @property
    def kept_columns(self) -> tuple[str, ...]:
        """Columns of the data that are read besides texts and labels."""
        return tuple(dict.fromkeys(name for name in (self.data.truth, self.split.groups) if name is not None))

    @property
    def tried(self) -> str:
        """Name of what is compared with its absence."""
        if "clean" in self.stages:
            return "cleaned labels"
        loss = self.train.labeled_loss
        return self.method.name if self.has_pool or loss is None else loss.name

    @property
    def embeds(self) -> bool:
        """Whether the embedding labeler alone is measured too, without a download that nobody asked for."""
        asked = self.compare.embeddings
        reads_it = "label" in self.stages or self.model.name == self.label.encoder
        return self.has_pool and reads_it if asked == "auto" else asked

    @property
    def question(self) -> str:
        """What the comparison answers."""
        if self.has_pool:
            return "Did the unlabelled text help?"
        return "Did the cleaning help?" if "clean" in self.stages else "Did the loss help?"

    @property
    def baseline(self) -> str:
        """Name of the side without it."""
        return "noisy labels" if "clean" in self.stages else "labels only"

    @model_validator(mode="before")
    @classmethod
    def _method_of_the_stages(cls, given: Any) -> Any:
        """What the method is unless named: after `label` to learn its soft labels, after `clean` none."""
        stages = _listed(given.get("stages")) if isinstance(given, dict) else []
        method = given.get("method", {}) if stages else None
        if "label" in stages and isinstance(method, dict) and "name" not in method:
            return given | {"method": LEARN_LABELS | method}
        return given | {"method": NO_METHOD} if "clean" in stages and "method" not in given else given

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_label()
        self._check_clean()
        if self.noise is not None and self.data.truth is not None:
            raise ValueError("noise: is put into right labels, but data.truth says that they are noisy: write one")
        self._check_labeled_loss()
        metric = self.compare.metric
        if self.expected is not None and metric is not None and self.expected.metric != metric:
            raise ValueError(f"expected: is in {self.expected.metric}, but compare.metric is {metric}: write the same")
        return self

    def _check_label(self) -> None:
        # Who measures embeddings alone may say whose.
        unused = LabelSettings(encoder=self.label.encoder) if self.compare.embeddings is True else LabelSettings()
        if "label" not in self.stages and self.label != unused:
            raise ValueError("label: these settings have no effect without the stage: write stages: [label, train]")
        learns = self.method.name == "distillation" and self.method.settings.get("column") == LEARN_LABELS["column"]
        if "label" in self.stages and not learns:
            raise ValueError(
                f"method: {self.method.name} would not learn the labels of the stage label: leave the method out, or "
                "write {name: distillation, column: probabilities, ...}"
            )

    def _check_clean(self) -> None:
        loss = self.train.labeled_loss
        estimates = loss is not None and loss.estimates
        if "clean" not in self.stages:
            # The noise is estimated from the same embeddings.
            if self.clean != CleanSettings(encoder=self.clean.encoder if estimates else DEFAULT_MODEL):
                raise ValueError("clean: these settings have no effect without the stage: write stages: [clean, train]")
        elif self.has_pool:
            raise ValueError(f"method: {self.method.name} needs a pool, but the stage clean is of labelled rows: none")
        elif estimates:
            raise ValueError(
                "transition: estimate is of the labels as they are given, not of cleaned ones: name another loss or "
                "leave the stage clean out"
            )
        elif self.train.label_smoothing_factor > 0:
            raise ValueError("label_smoothing_factor takes the place that the weights of cleaned labels need: leave it")

    def _check_labeled_loss(self) -> None:
        if self.train.labeled_loss is None:
            if not self.has_pool and "clean" not in self.stages:
                raise ValueError(
                    "method: none leaves nothing to compare: name a loss, train: {labeled_loss: ...}, or write "
                    "stages: [clean, train]"
                )
        elif self.method.value("tsa") is not None:
            raise ValueError(
                f"method: {self.method.name} anneals the loss of the labelled rows, which train.labeled_loss would "
                "replace: write tsa: null"
            )
        elif self.method.value("asymmetric"):
            raise ValueError(
                f"method: {self.method.name} has a loss of the labeled rows, which train.labeled_loss would replace: "
                "write asymmetric: false"
            )


def _listed(stages: Any) -> list[Any]:
    return list(stages) if isinstance(stages, (list, tuple)) else []
