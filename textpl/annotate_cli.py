"""The command `textpl annotate`: parse, estimate, ask, call one function, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textpl.terminal import errors_told, interruption_told, log_to_terminal, say

if TYPE_CHECKING:
    from textpl.annotating.annotate import CostEstimate


def annotate(
    data: Annotated[str, typer.Argument(help="Texts: folder, csv, jsonl or parquet file, or Hub id.")],
    endpoint: Annotated[str, typer.Option(help="OpenAI-compatible server, such as http://localhost:8000/v1.")],
    model: Annotated[str, typer.Option(help="Name of the model there.")],
    labels: Annotated[str, typer.Option(help="Names of the labels: a,b,c.")],
    out: Annotated[Path, typer.Option(help="File to write: .parquet, .jsonl or .csv.")] = Path("annotated.parquet"),
    text: Annotated[str, typer.Option(help="Name of the text column.")] = "text",
    column: Annotated[str, typer.Option(help="Name of the new column.")] = "annotation",
    split: Annotated[str, typer.Option(help="Split of a folder or of Hub data.")] = "train",
    instructions: Annotated[
        Path | None, typer.Option(help="Text file that says what is to be decided. Default: a plain question.")
    ] = None,
    describe: Annotated[
        list[str] | None, typer.Option(help='What a label means, "LABEL=meaning". Again for each label.')
    ] = None,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="Several labels may apply, or none.")] = False,
    price_per_million: Annotated[
        str | None, typer.Option(help="Price of a million tokens, or SENT,RECEIVED: for the estimate.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Send without asking.")] = False,
    max_rows: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 8,
    requests_per_minute: Annotated[float | None, typer.Option(help="Limit of the server.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds after which a request is sent again.")] = 60.0,
    retries: Annotated[int, typer.Option(min=0, help="Further tries of a request.")] = 5,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 200,
    api_key_env: Annotated[str, typer.Option(help="Environment variable with the key.")] = "OPENAI_API_KEY",
    cache: Annotated[Path | None, typer.Option(help="SQLite file of the answers. Default: OUT.answers.sqlite.")] = None,
) -> None:
    """Ask a language model for the label of every text; answers are kept, nothing is sent unasked."""
    from textpl.annotating.files import annotate_file

    log_to_terminal()
    kept = cache or out.with_name(out.name + ".answers.sqlite")
    again = lambda: f"answers that came are kept in {kept}. Give the same command again."  # noqa: E731
    with errors_told(), interruption_told(again):
        found = annotate_file(
            data,
            out,
            split=split,
            endpoint=endpoint,
            model=model,
            labels=[name.strip() for name in labels.split(",")],
            text_column=text,
            column=column,
            instructions=None if instructions is None else instructions.read_text(encoding="utf-8"),
            descriptions=dict(_description(line) for line in describe or ()),
            multi_label=multi_label,
            price_per_million=_prices(price_per_million),
            confirm=True if yes else _confirmed,
            max_rows=max_rows,
            concurrency=concurrency,
            requests_per_minute=requests_per_minute,
            timeout=timeout,
            retries=retries,
            max_tokens=max_tokens,
            api_key_env=api_key_env,
            cache=kept,
        )
    say(str(found))
    say(f"  {'answers:':9s}{out}")
    say(f"Use them: textpl label or textpl clean with --annotations {column}.")


def _confirmed(cost: CostEstimate) -> bool:
    say(str(cost))
    if not sys.stdin.isatty():
        raise ValueError("Nothing was sent: nobody is there to ask. Add --yes to send.")
    return typer.confirm("Send?")


def _description(line: str) -> tuple[str, str]:
    label, sign, meaning = line.partition("=")
    if not sign or not meaning.strip():
        raise ValueError(f'--describe {line}: write "LABEL=what it means".')
    return label.strip(), meaning.strip()


def _prices(text: str | None) -> float | tuple[float, float] | None:
    if text is None:
        return None
    try:
        prices = [float(part) for part in text.split(",")]
    except ValueError:
        prices = []
    if len(prices) not in (1, 2) or min(prices) < 0:
        raise ValueError(f"--price-per-million {text}: a number, or two such as 0.15,0.60.")
    return prices[0] if len(prices) == 1 else (prices[0], prices[1])
