"""Chat completions of an OpenAI-compatible server: many at a time, not too many a minute, again after what passes."""

from __future__ import annotations

import asyncio
import email.utils
import json
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx2 as httpx

from textpl.annotating.answer_cache import Answer

PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}  # another try may succeed
REFUSED = {400, 413, 422}  # this text, or a setting that the server does not know
REFUSALS = 3  # so many before any answer: it is not the texts
# What is said to be too long may be the first texts of a corpus, by chance; so many of these are a setting too.
TOO_LONG = re.compile(
    r"too long|too large|too many tokens|context.{0,20}(length|window|size|limit)|(maximum|less than).{0,20}tokens"
)
LONG_REFUSALS = 30
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
SHOWN = 300  # characters of what a server says


class EndpointError(ConnectionError):
    """The endpoint does not answer, or refuses everything; what it answered before is kept."""


@dataclass
class Endpoint:
    """Where and how to ask.

    Args:
        url: of the server, up to "/v1", or of its "/chat/completions".
        model: name of the model.
        api_key: sent as a bearer token, never shown or written; None sends none.
        concurrency: requests at a time.
        requests_per_minute: None for no limit.
        timeout: seconds without an answer after which a request counts as lost.
        retries: further tries of a request.
        max_tokens: of an answer.
        schema: JSON schema that answers are constrained to, where the server can.
    """

    url: str
    model: str
    api_key: str | None = field(repr=False)
    concurrency: int
    requests_per_minute: float | None
    timeout: float
    retries: int
    max_tokens: int
    schema: dict[str, Any]

    @property
    def address(self) -> str:
        """Of chat completions."""
        base = self.url.rstrip("/")
        return base if base.endswith("/chat/completions") else f"{base}/chat/completions"


class Chat:
    """Asks an endpoint; knows what it has learned about it: which settings it takes, and when to wait.

    Args:
        endpoint: where to ask.
        random_seed: of the jitter between tries.
    """

    def __init__(self, endpoint: Endpoint, random_seed: int = 0) -> None:
        self.endpoint = endpoint
        self.formats: list[dict[str, Any] | None] = [
            {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": endpoint.schema},
            },
            {"type": "json_object"},
            None,
        ]
        self.length, self.temperature = "max_tokens", True
        self.tries = 0
        self._answers = 0
        self._refusals = {True: 0, False: 0}  # by whether the text was said to be too long
        self._next = self._quiet_until = 0.0
        self._jitter = random.Random(random_seed)
        self._stop: Exception | None = None

    async def ask_all(
        self,
        questions: Iterable[tuple[str, list[dict[str, str]]]],
        keep: Callable[[str, Answer | None, str], None],
    ) -> None:
        """Ask all questions.

        Args:
            questions: (key, messages) each.
            keep: called with the key, the answer and "" as soon as it is there, or with None and the reason where the
                endpoint refused this text.

        Raises:
            EndpointError: once the endpoint no longer answers or refuses everything. What was under way is waited for.
        """
        waiting = iter(questions)
        headers = {} if self.endpoint.api_key is None else {"Authorization": f"Bearer {self.endpoint.api_key}"}
        limits = httpx.Limits(max_connections=self.endpoint.concurrency)
        async with httpx.AsyncClient(headers=headers, timeout=self.endpoint.timeout, limits=limits) as client:

            async def work() -> None:
                for key, messages in waiting:
                    if self._stop is not None:
                        return
                    try:
                        keep(key, *(await self._ask(client, messages)))
                    except EndpointError as error:
                        self._stop = self._stop or error
                        return

            await _together([work() for _ in range(self.endpoint.concurrency)])
        if self._stop is not None:
            raise self._stop

    async def _ask(self, client: httpx.AsyncClient, messages: list[dict[str, str]]) -> tuple[Answer | None, str]:
        """One answer, or None and why the endpoint refuses."""
        problem, tried = "", 0
        while tried <= self.endpoint.retries:
            await self._turn()
            if self._stop is not None:
                raise EndpointError("stopped")
            self.tries += 1
            body = self._body(messages)
            pause = min(FIRST_PAUSE * 2**tried, LONGEST_PAUSE) * self._jitter.uniform(0.7, 1.3)
            try:
                response = await client.post(self.endpoint.address, json=body)
            except httpx.RequestError as error:  # no connection, a lost one, or too long without an answer
                problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            else:
                if response.status_code == 200:
                    answer = _answer(response)
                    if answer is not None:
                        self._answers += 1
                        return answer._replace(text=self._hidden(answer.text)), ""
                    problem = f"an answer that is no chat completion: {self._shown(response.text)}"
                elif response.status_code in REFUSED:
                    told = self._shown(response.text)
                    if self._adapted(body, response.text):
                        continue
                    return self._refused(response.status_code, told)
                elif response.status_code in PASSING:
                    problem = f"HTTP {response.status_code}: {self._shown(response.text)}"
                    asked = _retry_after(response)
                    if asked is not None or response.status_code == 429:
                        # Everybody waits: more requests would only be refused as well.
                        self._quiet_until = max(self._quiet_until, time.monotonic() + max(asked or 0, pause))
                        pause = 0.0
                else:
                    raise EndpointError(f"{self.endpoint.address} refuses: {self._reason(response)}")
            tried += 1
            if tried <= self.endpoint.retries:
                await asyncio.sleep(pause)
        raise EndpointError(f"{self.endpoint.address} does not answer after {tried} tries ({self._hidden(problem)})")

    async def _turn(self) -> None:
        """Wait until a request may be sent."""
        gap = 0.0 if self.endpoint.requests_per_minute is None else 60 / self.endpoint.requests_per_minute
        while True:
            now = time.monotonic()
            start = max(now, self._next, self._quiet_until)
            if start <= now:
                self._next = now + gap
                return
            await asyncio.sleep(start - now)

    def _body(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "messages": messages,
            self.length: self.endpoint.max_tokens,
        }
        if self.temperature:
            body["temperature"] = 0
        if self.formats[0] is not None:
            body["response_format"] = self.formats[0]
        return body

    def _adapted(self, body: dict[str, Any], told: str) -> bool:
        """Whether the refusal is about a setting that can be left out; it is, from now on."""
        told = told.lower()
        form = body.get("response_format")
        if form is not None and ("response_format" in told or "json" in told or "schema" in told):
            if form is self.formats[0]:  # else another request has found out meanwhile
                self.formats.pop(0)
            return True
        if "max_tokens" in body and "max_completion_tokens" in told:
            self.length = "max_completion_tokens"
            return True
        if "temperature" in body and "temperature" in told:
            self.temperature = False
            return True
        return False

    def _refused(self, status: int, told: str) -> tuple[None, str]:
        long = status == 413 or TOO_LONG.search(told.lower()) is not None
        self._refusals[long] += 1
        if not self._answers and (self._refusals[False] >= REFUSALS or self._refusals[True] >= LONG_REFUSALS):
            raise EndpointError(f"{self.endpoint.address} refuses: HTTP {status}: {told}")
        return None, f"HTTP {status}: {told}"

    def _reason(self, response: httpx.Response) -> str:
        """Why the endpoint refuses everything, and what to do where that is known."""
        told = f"HTTP {response.status_code}: {self._shown(response.text)}"
        if response.is_redirect:  # not followed, as the key and the texts are meant for this address only
            told += (
                f" It points to {self._shown(response.headers.get('location', ''))}: name that address, if you mean it"
            )
        if response.status_code in (401, 403) and self.endpoint.api_key is None:
            told += " (no key was sent: put it into the environment variable that api_key_env names)"
        return told

    def _shown(self, text: str) -> str:
        short = " ".join(self._hidden(text).split())
        return short if len(short) <= SHOWN else short[:SHOWN] + "..."

    def _hidden(self, text: str) -> str:
        """What a server or a library says, without the key that it may repeat."""
        return text.replace(self.endpoint.api_key, "***") if self.endpoint.api_key else text


def read_key(variable: str) -> str | None:
    """The key in an environment variable; None where there is none.

    Raises:
        ValueError: for a key that no header can hold; it is not shown.
    """
    key = os.environ.get(variable, "").strip()
    if not all("!" <= c <= "~" for c in key):
        raise ValueError(
            f"The key in {variable} holds a blank, a line break, or a character that is not ASCII: set it again."
        )
    return key or None


def run_async(make: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine, in a notebook too, whose own loop is running already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(_awaited(make))
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(_awaited(make))).result()


async def _awaited(make: Callable[[], Awaitable[None]]) -> None:
    await make()


async def _together(jobs: list[Any]) -> None:
    """Run all; an error that is no EndpointError, such as a full disk, ends them."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _answer(response: httpx.Response) -> Answer | None:
    """The text of a chat completion; None where it is cut off or something else."""
    try:
        told = response.json()
        choice = told["choices"][0]
        text = choice["message"]["content"]
        usage = told.get("usage") or {}
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, IndexError, TypeError, AttributeError):
        return None
    if text is not None and not isinstance(text, str):
        return None
    numbers = [count if isinstance(count, int) else None for count in counts]
    return Answer(text or "", numbers[0], numbers[1], choice.get("finish_reason"))


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the server asks to wait: a number or a date (RFC 9110, 10.2.3); at most ten minutes."""
    value = response.headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), 600.0) if seconds == seconds else None
