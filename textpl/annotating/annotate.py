"""Ask a language model for labels: a dataset in, the same with a column of answers out; every answer is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import datasets
from datasets import Dataset, List, Value

from textpl.annotating.answer_cache import Answer, AnswerCache, answer_key
from textpl.annotating.client import Chat, Endpoint, EndpointError, read_key, run_async
from textpl.annotating.prompts import Prompt, answer_tokens, prompt_tokens
from textpl.annotations.matching import LabelMatcher
from textpl.progress import progress_bar
from textpl.reading.find_columns import check_text

EXAMPLES = 5  # malformed answers that are shown
SHOWN = 120  # characters of each


@dataclass(frozen=True)
class CostEstimate:
    """What asking would take.

    Attributes:
        rows: of the dataset that are asked about; blank texts are not.
        cached: of these, how many have an answer already.
        requests: still to be sent; equal texts are asked once.
        prompt_tokens: of all requests, estimated: a quarter of the ASCII characters, one for every other character.
        completion_tokens: of all answers, likewise.
        price: in the currency of the prices given; None without them.
    """

    rows: int
    cached: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    price: float | None = None

    def __str__(self) -> str:
        cost = "price not known (give price_per_million)" if self.price is None else f"about {self.price:.2f}"
        return (
            f"{self.requests:,} requests for {self.rows:,} rows ({self.cached:,} are answered already), about "
            f"{self.prompt_tokens:,} tokens to send and {self.completion_tokens:,} to receive: {cost}"
        )


@dataclass(frozen=True)
class Annotated:
    """A dataset with the answers of a model.

    Attributes:
        dataset: the rows, with the column of answers: a name, or a list of names; None where there is no usable answer.
        column: its name, for `annotations=`.
        answered: rows with a usable answer.
        malformed: rows whose answer names no label.
        refused: rows that the endpoint refused to answer.
        not_asked: rows beyond `max_rows`, and those whose text is blank.
        examples: some malformed answers and refusals.
        requests: sent now.
        prompt_tokens: sent now, as the endpoint counted them.
        completion_tokens: received now, likewise.
        cache: file that keeps the answers.
    """

    dataset: Dataset
    column: str
    answered: int
    malformed: int
    refused: int
    not_asked: int
    examples: tuple[str, ...]
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cache: Path

    def __str__(self) -> str:
        lines = [
            f"{self.answered:,} of {len(self.dataset):,} rows have an answer (column {self.column!r}); "
            f"{self.malformed:,} answers name no label, {self.refused:,} texts were refused, {self.not_asked:,} rows "
            "were not asked about",
            f"{self.requests:,} requests sent, {self.prompt_tokens:,} tokens sent and {self.completion_tokens:,} "
            f"received (as the endpoint counts); answers are kept in {self.cache}",
        ]
        if self.examples:
            lines += ["Not usable, for example:", *(f"  {example}" for example in self.examples)]
        return "\n".join(lines)


def annotate(
    data: Dataset,
    *,
    endpoint: str,
    model: str,
    labels: Sequence[str],
    text_column: str = "text",
    column: str = "annotation",
    instructions: str | None = None,
    descriptions: Mapping[str, str] | None = None,
    examples: Sequence[tuple[str, str | Sequence[str]]] = (),
    multi_label: bool = False,
    confirm: bool | Callable[[CostEstimate], bool] = False,
    price_per_million: float | tuple[float, float] | None = None,
    max_rows: int | None = None,
    concurrency: int = 8,
    requests_per_minute: float | None = None,
    timeout: float = 60.0,
    retries: int = 5,
    max_tokens: int = 200,
    api_key_env: str = "OPENAI_API_KEY",
    cache: str | Path | None = None,
    progress: bool = True,
) -> Annotated:
    """Ask a language model behind an OpenAI-compatible endpoint for the label of every text.

    Nothing is sent without `confirm`. Every answer is written to `cache` as it comes: after an error, an interruption
    or a kill the same call sends only what is missing. Answers that are no label count as malformed, are shown, and
    become None; nothing is guessed. Blank texts are not asked about.

    When to use: to get a second opinion on a pool, a few cents' worth of weak labels, for
    `textpl.label(..., annotations="annotation")` or `textpl.find_label_issues(..., annotations="annotation")`, which
    find out how far it can be trusted. The texts leave your machine: ask a server that may see them.

    Args:
        data: rows with a text column.
        endpoint: URL of the server, such as http://localhost:8000/v1; it gets /chat/completions behind it.
        model: name of the model there.
        labels: names of the labels.
        text_column: name of the text column.
        column: name of the new column.
        instructions: what is to be decided, in your words, in the place of a plain first sentence.
        descriptions: label -> what it means.
        examples: (text, answer) pairs to show first.
        multi_label: several labels may apply, or none.
        confirm: True sends; a function is given the estimate and says whether to. False sends nothing.
        price_per_million: price of a million tokens, or (of those sent, of those received), in your currency.
        max_rows: ask about the first rows only.
        concurrency: requests at a time.
        requests_per_minute: limit of the server's; None for none. What it answers to too many (429) is obeyed, too.
        timeout: seconds without an answer after which a request is sent again.
        retries: further tries of a request, after lost connections and errors of the server, with longer and longer
            pauses.
        max_tokens: most tokens of an answer; models that reason first need thousands.
        api_key_env: environment variable with the key; it is read there, and neither logged nor written.
        cache: SQLite file of the answers; default: in the datasets cache.
        progress: show a progress bar.

    Returns:
        Annotated.

    Raises:
        ValueError: if not confirmed (with the estimate), and for labels, columns, texts or settings that do not fit.
        ConnectionError: if the endpoint does not answer or refuses everything, with what is kept.

    Example:
        >>> import tempfile, textpl
        >>> from datasets import Dataset
        >>> pool = Dataset.from_dict({"text": ["good film", "dull book"]})
        >>> ask = {"endpoint": "http://localhost:8000/v1", "model": "m", "labels": ["yes", "no"]}
        >>> ask["cache"] = tempfile.mkdtemp() + "/answers.sqlite"
        >>> textpl.annotate(pool, **ask)
        Traceback (most recent call last):
        ...
        ValueError: Nothing was sent: ...
    """
    prompt = Prompt(tuple(map(str, labels)), multi_label, instructions, descriptions, tuple(examples))
    _check_settings(endpoint, concurrency, requests_per_minute, retries, max_rows)
    texts = _texts(data, text_column, column)
    asked = len(texts) if max_rows is None else min(max_rows, len(texts))
    file = Path(cache) if cache is not None else Path(datasets.config.HF_DATASETS_CACHE) / "textpl-annotations.sqlite"
    settings = {"max_tokens": max_tokens, "multi_label": multi_label}
    keys = [
        answer_key(endpoint.rstrip("/"), model, prompt.messages(text), settings) if text.strip() else None
        for text in texts[:asked]
    ]
    asked_keys = [key for key in keys if key is not None]
    store = AnswerCache(file)
    try:
        found = store.get(asked_keys)
        missing = {key: text for key, text in zip(keys, texts, strict=False) if key is not None and key not in found}
        cost = _estimate(prompt, asked_keys, found, missing, price_per_million)
        if missing and not (confirm(cost) if callable(confirm) else confirm):
            raise ValueError(f"Nothing was sent: {cost}. Say confirm=True to send them to {_host(endpoint)}.")
        where = Endpoint(
            endpoint, model, read_key(api_key_env), concurrency, requests_per_minute, timeout, retries, max_tokens,
            prompt.schema(),
        )  # fmt: skip
        new, refusals, requests = _ask(where, prompt, missing, store, progress)
    finally:
        store.close()
    found |= new
    return _result(data, column, prompt, keys, found, new, refusals, requests, file)


def _ask(
    endpoint: Endpoint, prompt: Prompt, missing: dict[str, str], store: AnswerCache, progress: bool
) -> tuple[dict[str, Answer], dict[str, str], int]:
    """New answers and refusals by key, and the number of requests."""
    new, refusals = dict[str, Answer](), dict[str, str]()
    if not missing:
        return new, refusals, 0
    chat = Chat(endpoint)
    bar = progress_bar(total=len(missing), desc=f"asking {endpoint.model}", shown=progress)

    def keep(key: str, answer: Answer | None, reason: str) -> None:
        if answer is None:
            refusals[key] = reason
        else:
            store.put(key, answer)
            new[key] = answer
        bar.update()

    try:
        run_async(lambda: chat.ask_all(((k, prompt.messages(text)) for k, text in missing.items()), keep))
    except EndpointError as error:
        raise ConnectionError(
            f"{error}. {len(new):,} of {len(missing):,} answers came and are kept in {store.file}: the same call goes "
            "on from there."
        ) from None
    finally:
        bar.close()
    return new, refusals, chat.tries


def _result(
    data: Dataset,
    column: str,
    prompt: Prompt,
    keys: Sequence[str | None],
    found: dict[str, Answer],
    new: dict[str, Answer],
    refusals: dict[str, str],
    requests: int,
    file: Path,
) -> Annotated:
    matcher, names = LabelMatcher(prompt.label_names), prompt.label_names
    values: list[str | list[str] | None] = []
    malformed = refused = 0
    shown: list[str] = []
    for key in keys:
        if key is None:
            values.append(None)
            continue
        answer = found.get(key)
        label: int | list[int] | None = None
        if answer is None:
            refused += 1
            shown += [f"refused: {refusals[key][:SHOWN]}"]
        else:
            label = matcher.several(answer.text) if prompt.multi else matcher.one(answer.text)
            if label is None:
                malformed += 1
                cut = " (cut off at max_tokens)" if answer.finish == "length" else ""
                shown += [f"{answer.text[:SHOWN]!r}{cut}"]
        values.append(None if label is None else names[label] if isinstance(label, int) else [names[k] for k in label])
    values += [None] * (len(data) - len(keys))
    feature = List(Value("string")) if prompt.multi else Value("string")
    extra = Dataset.from_dict({column: values}, features=datasets.Features({column: feature}))
    told = list(new.values())
    return Annotated(
        datasets.concatenate_datasets([data, extra], axis=1),
        column,
        sum(value is not None for value in values),
        malformed,
        refused,
        len(data) - len(keys) + keys.count(None),
        tuple(dict.fromkeys(shown))[:EXAMPLES],
        requests,
        sum(answer.prompt_tokens or 0 for answer in told),
        sum(answer.completion_tokens or 0 for answer in told),
        file,
    )


def _estimate(
    prompt: Prompt,
    keys: Sequence[str],
    found: Mapping[str, Answer],
    missing: Mapping[str, str],
    price: float | tuple[float, float] | None,
) -> CostEstimate:
    sent = sum(prompt_tokens(prompt, text) for text in missing.values())
    received = len(missing) * answer_tokens(prompt)
    cost = None
    if price is not None:
        each = price if isinstance(price, tuple) else (price, price)
        cost = (sent * each[0] + received * each[1]) / 1e6
    return CostEstimate(len(keys), sum(key in found for key in keys), len(missing), sent, received, cost)


def _texts(data: Dataset, text_column: str, column: str) -> list[str]:
    if not isinstance(data, Dataset):
        raise ValueError(f"data must be a datasets.Dataset, not {type(data).__name__}: use Dataset.from_dict.")
    if len(data) == 0:
        raise ValueError("data has no rows: there is nothing to ask about.")
    if text_column not in data.column_names:
        raise ValueError(f"data has no column {text_column!r}; its columns are {data.column_names}.")
    if column in data.column_names:
        raise ValueError(f"data has a column {column!r} already: name another one with column=.")
    check_text(data, text_column, f"data, column {text_column!r}")
    return data.with_format(None)[text_column][:]


def _check_settings(
    endpoint: str, concurrency: int, requests_per_minute: float | None, retries: int, max_rows: int | None
) -> None:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        shown = "endpoint" if "@" in endpoint else f"endpoint={endpoint!r}"  # what stands before @ may be a key
        raise ValueError(f"{shown}: an address such as http://localhost:8000/v1 is needed.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            f"endpoint: the address of {parts.hostname} holds a user, a password, a query or a fragment (#), which "
            "would be logged: put the key into an environment variable and name it with api_key_env."
        )
    _host(endpoint)  # a port that is no number
    if concurrency < 1 or retries < 0 or (requests_per_minute is not None and not requests_per_minute > 0):
        raise ValueError(
            f"concurrency={concurrency}, requests_per_minute={requests_per_minute}, retries={retries}: at least one "
            "request at a time, a positive rate, and no negative number of tries."
        )
    if max_rows is not None and max_rows < 1:
        raise ValueError(f"max_rows={max_rows}: at least 1.")


def _host(endpoint: str) -> str:
    """The server without what may be secret."""
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
