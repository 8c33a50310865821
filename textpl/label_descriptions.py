"""Names and descriptions of labels as a signal: what there is to encode, for which label, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from textpl.relabeling.label_names import is_code, spelled_out

# What a user gives: a text or several for every label; "names": the names themselves.
LabelDescriptions = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Descriptions:
    """Texts that say what labels mean.

    Attributes:
        texts: what is encoded.
        owners: int64 (texts,), the label that each describes.
        silent: labels that nothing describes, since their names are only codes.
        of_names: whether the names themselves are the texts.
    """

    texts: list[str]
    owners: np.ndarray
    silent: tuple[str, ...]
    of_names: bool

    def told(self) -> str:
        """What is used and what is not, in a sentence."""
        codes = f"{', '.join(self.silent)}: only codes, which say nothing; describe them in label_descriptions"
        if not self.texts:
            return f"label names not used ({codes})"
        what = "label names" if self.of_names else "label descriptions"
        return f"{what} used" + (f", but not of {codes}" if self.silent else "")


def read_descriptions(given: LabelDescriptions | str, label_names: Sequence[str]) -> Descriptions:
    """Read what is said of the labels.

    Args:
        given: label name -> a text, or several; or "names".
        label_names: of every label, in the order of ids.

    Returns:
        Descriptions: without any text if all names are codes.

    Raises:
        ValueError: for a label that does not exist or is missing, what is no text or an empty one, and one text for two
            labels; the labels are named.
    """
    if isinstance(given, str):
        if given != "names":
            raise ValueError(
                f'label_descriptions={given!r}: give a text for each label, such as {{"{label_names[0]}": "..."}}, or '
                '"names" to use the names as they are.'
            )
        listed = [[] if is_code(name) else [spelled_out(name)] for name in label_names]
    else:
        listed = _listed(given, label_names)
    silent = tuple(name for name, texts in zip(label_names, listed, strict=True) if not texts)
    pairs = [(label, text) for label, texts in enumerate(listed) for text in texts]
    _refuse_shared(pairs, label_names)
    owners = np.array([label for label, _ in pairs], dtype=np.int64)
    return Descriptions([text for _, text in pairs], owners, silent, isinstance(given, str))


def _listed(given: LabelDescriptions, label_names: Sequence[str]) -> list[list[str]]:
    """The texts of each label; none where they are only codes."""
    if not isinstance(given, Mapping):
        raise ValueError(f"label_descriptions is a {type(given).__name__}: give a dict, label name -> text or texts.")
    texts = {str(name): [told] if isinstance(told, str) else told for name, told in given.items()}
    unknown = [name for name in texts if name not in label_names]
    missing = [name for name in label_names if name not in texts]
    if unknown or missing:
        problems = [f"there is no label {', '.join(map(repr, unknown))}"] if unknown else []
        problems += [f"nothing describes {', '.join(map(repr, missing))}"] if missing else []
        raise ValueError(f"label_descriptions: {'; '.join(problems)}. The labels are {', '.join(label_names)}.")
    for name, own in texts.items():
        if not isinstance(own, (list, tuple)) or not own or not all(isinstance(t, str) and t.strip() for t in own):
            raise ValueError(f"label_descriptions[{name!r}] is {own!r}: give a text, or a list of texts, none empty.")
    return [[text for text in texts[name] if not is_code(text)] for name in label_names]


def _refuse_shared(pairs: Sequence[tuple[int, str]], label_names: Sequence[str]) -> None:
    owner: dict[str, int] = {}
    for label, text in pairs:
        first = owner.setdefault(text.strip(), label)
        if first != label:
            raise ValueError(
                f"label_descriptions: {label_names[first]!r} and {label_names[label]!r} are both described by "
                f"{text!r}, which cannot tell them apart."
            )
