"""What a recipe says of its stages before training: labels for the pool, cleaned labels, noise that is put in."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import model_validator

from textpl.cleaning.apply import check_thresholds
from textpl.cleaning.injection import NoiseKind
from textpl.recipes import field_types as ft

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"


class LabelSettings(ft.Strictly):
    """How the stage `label` labels the pool from embeddings; arguments of `textpl.label`."""

    method: ft.RelabelingMethod = "auto"
    encoder: ft.EncoderName = DEFAULT_MODEL
    k: ft.Count | None = None
    class_prior: Annotated[
        Literal["none", "gold", "uniform"] | ft.Shares,
        ft.told_as("none, gold, uniform, or a list, one share per label"),
    ] = "none"
    label_descriptions: Annotated[
        Literal["names"] | dict[str, str | list[str]] | None,
        ft.told_as("names, or a text or a list of texts for the name of every label"),
    ] = None
    confidence: ft.Share = 0.0  # rows below it stay out of the pool


class CleanSettings(ft.Strictly):
    """How the stage `clean` corrects the labelled rows; arguments of `textpl.find_label_issues` and `report.apply`."""

    encoder: ft.EncoderName = DEFAULT_MODEL
    noise: Literal["auto", "missing", "spurious", "swap"] = "auto"
    relabel: ft.Share | None = None
    drop: ft.Share | None = None
    downweight: ft.Share | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_thresholds(self.relabel, self.drop, self.downweight)
        return self


class NoiseSettings(ft.Strictly):
    """Wrong labels put into train on purpose; arguments of `textpl.cleaning.injection.inject_noise`."""

    kind: NoiseKind
    rate: ft.BelowOne
    seed: ft.Size = 0
    encoder: ft.EncoderName = DEFAULT_MODEL  # what is similar, for swap


def check_stages(stages: tuple[str, ...]) -> tuple[str, ...]:
    """The stages, if they are some that can follow each other; else ValueError."""
    for stage in stages:
        if stage not in ("label", "clean", "train"):
            raise ValueError(f"unknown stage {stage!r}: there are label, clean and train")
    if stages not in (("train",), ("label", "train"), ("clean", "train")):
        raise ValueError(
            "write [train], [label, train] to label the pool from embeddings first, or [clean, train] to clean the "
            "labelled rows first"
        )
    return stages
