# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A client of OpenAI-compatible endpoints: its address, its key, its limits and its retries."""

import asyncio
import inspect
import json
import math
import os
import random
import re
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from .._describe import hidden_texts, public_url
from .._options import LONGEST_WAIT, check_number, did_you_mean
from .._secrets import without_secrets
from .._show import show
from .base import Usage, encodable


if TYPE_CHECKING:
    from openai import AsyncOpenAI

DEFAULT_BASE_URL = "https://api.openai.com/v1"
MAX_RESPONSE_BYTES = 2**20  # of a whole response, packed or unpacked; no more of it is read
MAX_WAIT = 60.0  # seconds before a retry, whatever the server asks for
MAX_TOKENS = 10**9  # that one response can have cost; what says more is no count
MAX_DEPTH = 64  # of nested JSON; code that copies or writes it recurses as deep
RETRIED_STATUSES = (408, 409, 425, 429)  # and all from 500 on
HINTS = {
    400: "See whether the model takes all options of the request; `request_options` changes them.",
    401: "Check `api_key` or OPENAI_API_KEY.",
    403: "Check what the API key may be used for.",
    404: "Check `base_url` and `model`.",
}

Answer = TypeVar("Answer")


class EndpointError(RuntimeError):
    """An endpoint gave no answer in all its attempts."""


class AttemptError(Exception):
    """
    One attempt failed.

    Args:
        cause (`str`):
            What went wrong.
        is_final (`bool`, *optional*, defaults to `False`):
            Whether it would go wrong again.
        retry_after (`float`, *optional*, defaults to `0.0`):
            Seconds that the server asks to wait.
    """

    def __init__(self, cause: str, is_final: bool = False, retry_after: float = 0.0):
        super().__init__(cause)
        self.is_final = is_final
        self.retry_after = retry_after


@dataclass(frozen=True)
class Completion:
    """
    What an endpoint answered.

    Attributes:
        content (`str`):
            Text of the message, encodable as UTF-8.
        tool_calls (`list[dict]`):
            The `function` of each of its tool calls, with `name` and `arguments` as the endpoint sent them.
        is_cut (`bool`):
            Whether the limit of tokens cut it off.
    """

    content: str
    tool_calls: list[dict]
    is_cut: bool


class ChatClient:
    """
    Asks an OpenAI-compatible endpoint for chat completions. [`ChatUser`] and [`~trl_infopo.policies.ChatPolicy`]
    describe its arguments and its rules.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None,
        api_key: str | None,
        *,
        timeout: float,
        max_retries: int,
        backoff: float,
        max_concurrency: int,
        request_options: dict | None,
    ):
        if find_spec("openai") is None:
            raise ImportError(f'{type(self).__name__} needs the package `openai`: pip install "trl-infopo[users]"')
        if not isinstance(model, str) or not model:
            raise ValueError(f"`model` is {show(model)}, set it to the name of a model at the endpoint.")
        check_number("timeout", timeout, above=0, at_most=LONGEST_WAIT, hint="the seconds that an attempt may take")
        check_number("max_retries", max_retries, integer=True, at_least=0)
        check_number("backoff", backoff, at_least=0, at_most=LONGEST_WAIT)
        check_number("max_concurrency", max_concurrency, integer=True, at_least=1)
        find_key(api_key)
        self.model = model
        self.base_url = find_base_url(base_url)
        self.timeout = timeout
        self.max_retries = max_retries
        self.backoff = backoff
        self.max_concurrency = max_concurrency
        self.request_options = _check_request_options(request_options)
        self.usage = Usage()
        self._api_key = api_key
        self._jitter = random.Random()  # of its own: the delays must not touch the global generator

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r}, base_url={public_url(self.base_url)!r})"

    def __getstate__(self) -> dict:
        # A copy reads OPENAI_API_KEY. It lacks options that may hold a secret, and says so when it is used
        has_secrets = self.request_options is None or any(hidden_texts(self.request_options))
        return {
            **self.__dict__,
            "_api_key": None,
            "request_options": None if has_secrets else self.request_options,
        }

    async def complete(
        self, messages: list[dict], options: Mapping[str, Any], read: Callable[[Completion], Answer]
    ) -> Answer:
        """
        Ask for a completion, with retries.

        Args:
            messages (`list[dict]`):
                The chat.
            options (`Mapping[str, Any]`):
                Options of the request. `request_options` replace them, and what is `None` is left out.
            read (`Callable[[Completion], Answer]`):
                Makes the answer from the completion, or raises an [`AttemptError`].

        Returns:
            `Answer`: What `read` made.

        Raises:
            [`EndpointError`]: If there is none. It holds no secret.
        """
        if self.request_options is None:
            raise ValueError(
                f"This copy of a {type(self).__name__} lacks its `request_options`: they may hold secrets, which are "
                "not pickled or copied. Make it anew."
            )
        request = {"model": self.model, "messages": messages, **options, **self.request_options}
        # What is encodable can be sent
        request = _read_json(json.dumps({name: value for name, value in request.items() if value is not None}))
        secrets = [find_key(self._api_key), *hidden_texts(self.request_options)]
        attempts = 0
        while True:
            attempts += 1
            try:
                return read(await self._attempt(request))
            except AttemptError as error:
                failure = error
            self.usage.errors += 1
            if failure.is_final or attempts > self.max_retries:
                break
            delay = self.backoff * 2.0 ** min(attempts - 1, 64) * self._jitter.uniform(0.5, 1)
            await asyncio.sleep(min(failure.retry_after + delay, MAX_WAIT))
        cause = without_secrets(str(failure), secrets)
        # Cut after that: before, half a key could stay
        cause = cause if len(cause) <= 600 else f"{cause[:600]}..."
        # Outside of `except`: an error of openai, which holds the request and so the key, must not be its context
        raise EndpointError(
            f"The model {self.model!r} at {public_url(self.base_url)} gave no answer in {attempts} "
            f"attempt{'s' if attempts > 1 else ''}. {'It was' if attempts == 1 else 'The last one was'}: {cause}"
        )

    async def _attempt(self, request: dict) -> Completion:
        connections = _shared_connections(self.base_url, find_key(self._api_key), self.max_concurrency)
        async with connections.slots:
            body = await self._send(connections.client, request)
        completion, num_tokens = _parse(body)
        self.usage.tokens += num_tokens
        return completion

    async def _send(self, client: "AsyncOpenAI", request: dict) -> bytes:
        """Get the body of one response, or raise the reason why there is none."""
        import openai

        create = client.chat.completions.with_streaming_response.create  # loads modules, which may take a second
        try:
            async with (
                asyncio.timeout(self.timeout),  # the client's own timeout starts anew with every byte
                create(**request) as response,
            ):
                return await _read_body(response.http_response)
        except TimeoutError:
            raise AttemptError(f"no complete response within the `timeout` of {self.timeout} s.") from None
        except (_StatusError, openai.APIConnectionError, *_transport_errors()) as error:
            cause = error.__cause__ or error
            if isinstance(cause, _StatusError):  # older versions of openai turn it into a connection error
                raise cause.explain() from None
            raise AttemptError(f"a failed connection, {type(cause).__name__}: {cause}") from None


@dataclass
class _Connections:
    """A client, and the limit of its concurrent requests."""

    client: "AsyncOpenAI"
    slots: asyncio.Semaphore


# Environments make a new user for every episode, but connections belong to an event loop
_connections: dict[asyncio.AbstractEventLoop, dict[tuple, _Connections]] = {}


def _shared_connections(base_url: str, api_key: str, max_concurrency: int) -> _Connections:
    """The connections and the limit that all callers on this event loop share."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    for loop in list(_connections):
        if loop.is_closed():
            _connections.pop(loop, None)
    shared = _connections.setdefault(asyncio.get_running_loop(), {})
    name = (base_url, api_key, max_concurrency)
    if name not in shared:
        # Retries and timeouts are ours, so that one rule holds for everything that can go wrong. The HTTP client is
        # given because the one that openai makes closes itself in whichever event loop its object is collected, reads
        # errors without bound, and follows redirects.
        client = AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            max_retries=0,
            timeout=None,
            default_headers={"Accept-Encoding": "identity"},
            http_client=DefaultAsyncHttpxClient(
                timeout=None, follow_redirects=False, event_hooks={"response": [_refuse_failure]}
            ),
        )
        shared[name] = _Connections(client, asyncio.Semaphore(max_concurrency))
    return shared[name]


class _StatusError(Exception):
    """A response with an error status. Libraries may log it, so its text contains nothing from the server."""

    def __init__(self, status: int, headers: Mapping[str, str], text: str):
        super().__init__(f"status {status}")
        self.status = status
        self.headers = headers
        self.text = text

    def explain(self) -> AttemptError:
        hint = f" {HINTS[self.status]}" if self.status in HINTS else ""
        if 300 <= self.status < 400:
            location = public_url(self.headers.get("location", ""))
            hint = f" It redirects to {location!r}, where the key is not sent: set `base_url` to the new address."
        return AttemptError(
            f"status {self.status}.{hint} The server says: {self.text}",
            is_final=self.status not in RETRIED_STATUSES and self.status < 500,
            retry_after=_retry_after(self.headers),
        )


async def _refuse_failure(response: Any) -> None:
    """Called by the HTTP client before anybody reads the body of a response."""
    if response.is_success:
        return
    try:
        text = repr(_decode(await _read_body(response)))
    except AttemptError as error:
        text = str(error)
    raise _StatusError(response.status_code, response.headers, text)


async def _read_body(response: Any) -> bytes:
    """The body of a response, decompressed only up to a limit, which the HTTP client does not have."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise AttemptError(f"a response in the encoding {encoding!r}, although it was asked for as it is.")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            break
    else:
        if encoding == "identity":
            return bytes(body)
        unpacker = zlib.decompressobj(wbits=47)  # gzip or deflate, as its header says
        try:
            unpacked = unpacker.decompress(body, MAX_RESPONSE_BYTES + 1)
        except zlib.error as error:
            raise AttemptError(f"a response that is not in the encoding {encoding!r} ({error}).") from None
        if len(unpacked) <= MAX_RESPONSE_BYTES:
            return unpacked
    raise AttemptError(f"a response of more than {MAX_RESPONSE_BYTES} bytes, dropped unread.")


def _transport_errors() -> list[type[Exception]]:
    """Errors that reading a body may raise. (When a request is sent, openai turns all of them into one.)"""
    import anyio

    # openai is built on httpx, from version 3 on httpx2, which lets some errors of TLS connections through
    http_errors = [sys.modules[name].HTTPError for name in ("httpx", "httpx2") if name in sys.modules]
    return [*http_errors, anyio.EndOfStream, OSError]


def _decode(body: bytes) -> str:
    """Text to show, also from an error page in UTF-16."""
    return body.decode(errors="replace").replace("\0", "")


def _parse(body: bytes) -> tuple[Completion, int]:
    """A chat completion, and the number of tokens that it cost."""
    try:
        response = _read_json(body)
        choice = response["choices"][0]
        message = choice["message"]
        content = message.get("content") or ""
        if not isinstance(content, str):
            raise TypeError(f"content is of type {type(content).__name__}")
        functions = [tool_call["function"] for tool_call in message.get("tool_calls") or []]
        tool_calls = [{"name": function["name"], "arguments": function["arguments"]} for function in functions]
        completion = Completion(content, tool_calls, choice.get("finish_reason") == "length")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise AttemptError(f"a response that is not a chat completion ({error!r}): {_decode(body)!r}") from None
    return completion, _count_tokens(response.get("usage"))


def _count_tokens(usage: Any) -> int:
    """The tokens of a usage, 0 if it has no valid count: the answer is used all the same."""
    count = usage.get("total_tokens") if isinstance(usage, dict) else None
    is_count = isinstance(count, int | float) and not isinstance(count, bool) and 0 <= count <= MAX_TOKENS
    return int(count) if is_count else 0


def _read_json(text: str | bytes) -> Any:
    """The value of a JSON text, with all its text made encodable, which escapes like `\\ud83d` may not be."""

    def read_integer(digits: str) -> int | float:
        return int(digits) if len(digits) < 400 else float(digits)  # Python refuses some thousands

    value = json.loads(text, parse_int=read_integer)
    return json.loads(encodable(json.dumps(value, ensure_ascii=False)), parse_int=read_integer)


def read_arguments(text: Any) -> Any:
    """
    Read the arguments of a tool call. Text that is not JSON, has numbers that are not finite or is nested too deeply
    is returned unchanged: the call then fails, and the model is told so.

    Args:
        text (`Any`):
            Arguments as a model wrote them, meant to be JSON text.

    Returns:
        `Any`: Their value.
    """
    try:
        arguments = _read_json(text) if isinstance(text, str) else text
        as_it_is = text if isinstance(text, str) else json.dumps(text)
    except (ValueError, RecursionError):
        return text
    for depth, level in enumerate(_levels(arguments)):
        if depth > MAX_DEPTH or any(isinstance(item, float) and not math.isfinite(item) for item in level):
            return as_it_is
    return arguments


def _levels(value: Any) -> Iterator[list]:
    """The levels of a nested value: the value, its items, their items, and so on."""
    level = [value]
    while level:
        yield level
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list | tuple) else ())
        ]


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a server asks to wait, in either form of the header, 0 if it does not ask."""
    value = headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return float(value)
    try:
        return max(mktime_tz(parsedate_tz(value)) - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError):  # none, or a date that no clock shows
        return 0.0


def find_key(api_key: str | None) -> str:
    """
    Raises:
        `ValueError`: If there is no key, or none that a header can carry. It does not show the key.
    """
    if api_key is not None and not isinstance(api_key, str):
        raise ValueError(f"`api_key` is of type {type(api_key).__name__}, pass the key as text.")
    key = (api_key or os.environ.get("OPENAI_API_KEY") or "").strip()
    if not key:
        raise ValueError(
            "No API key: pass `api_key` or set the environment variable OPENAI_API_KEY. Local servers accept any text."
        )
    if not (key.isascii() and key.isprintable()):
        # The HTTP library would quote it in its error
        raise ValueError("The API key has a line break or a character that is not ASCII, which no header can carry.")
    return key


def find_base_url(base_url: str | None) -> str:
    """
    Raises:
        `ValueError`: If it is not an address of an endpoint, or contains a secret. It does not show the address.
    """
    if base_url is not None and not isinstance(base_url, str):
        raise ValueError(f"`base_url` is of type {type(base_url).__name__}, pass the address as text.")
    base_url = base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL
    try:
        url = urlsplit(base_url)
        is_address = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # half an IPv6 address, a port that is none
        url, is_address = None, False
    if url is not None and (url.username or url.password or url.query or url.fragment or "@" in url.netloc):
        # HTTP libraries log addresses
        raise ValueError(
            "`base_url` has a user name, a password, a query or a fragment. Addresses are logged: use `api_key`."
        )
    if not is_address or not (base_url.isascii() and base_url.isprintable()) or " " in base_url:
        # Nor is this one shown: it may be the key, in the wrong place
        raise ValueError("`base_url` is no address of an HTTP server, write it like 'http://localhost:8000/v1'.")
    return base_url


def _check_request_options(options: dict | None) -> dict:
    """
    Raises:
        `ValueError`: If they cannot be sent. It shows none of their values.
    """
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise ValueError(
            f"`request_options` is of type {type(options).__name__}, pass a dict of options of the chat completions "
            'request, such as {"top_p": 0.9}.'
        )
    from openai.resources.chat import AsyncCompletions

    known = set(inspect.signature(AsyncCompletions.create).parameters) - {"self", "model", "messages", "stream"}
    for name in options:
        if name not in known:
            raise ValueError(
                f"`request_options` has {show(name)}, which is no option to set here."
                f"{did_you_mean(name, sorted(known))} What the client of `openai` does not know goes into "
                "`extra_body`."
            )
    for name in ("extra_headers", "extra_query", "extra_body"):
        if not isinstance(options.get(name) or {}, dict):
            raise ValueError(f"`request_options` has {name!r} of type {type(options[name]).__name__}, make it a dict.")
    for header, value in (options.get("extra_headers") or {}).items():
        is_header = isinstance(header, str) and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", header)
        if not (is_header and isinstance(value, str) and value.isascii() and value.isprintable()):
            # The HTTP library would quote it in its error
            raise ValueError(
                "`extra_headers` in `request_options` have one that no request can carry: names are words, and values "
                "text in ASCII without line breaks."
            )
    try:
        json.dumps(options, allow_nan=False)
        is_deep = any(depth > MAX_DEPTH for depth, _ in enumerate(_levels(options)))
    except (TypeError, ValueError, RecursionError):
        is_deep = None
    if is_deep is not False:
        raise ValueError(
            "`request_options` cannot be sent as JSON. Use text, finite numbers, True, "
            f"False, None, lists and dicts, nested at most {MAX_DEPTH} deep."
        )
    return options
