# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A client of OpenAI-compatible endpoints: its address, its key, its limits and its retries."""

import asyncio
import inspect
import json
import os
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from .._describe import hidden_texts, public_url
from .._options import LONGEST_WAIT, check_number, did_you_mean
from .._secrets import without_secrets
from .._show import show
from .base import Usage
from .responses import (
    MAX_DEPTH,
    AttemptError,
    Completion,
    StatusError,
    levels,
    read_body,
    read_completion,
    read_json,
    refuse_failure,
    transport_errors,
)


if TYPE_CHECKING:
    from openai import AsyncOpenAI

DEFAULT_BASE_URL = "https://api.openai.com/v1"
MAX_WAIT = 60.0  # seconds before a retry, whatever the server asks for
Answer = TypeVar("Answer")


class EndpointError(RuntimeError):
    """An endpoint gave no answer in all its attempts."""


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
        request = read_json(json.dumps({name: value for name, value in request.items() if value is not None}))
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
        completion, num_tokens = read_completion(body)
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
                return await read_body(response.http_response)
        except TimeoutError:
            raise AttemptError(f"no complete response within the `timeout` of {self.timeout} s.") from None
        except (StatusError, openai.APIConnectionError, *transport_errors()) as error:
            cause = error.__cause__ or error
            if isinstance(cause, StatusError):  # older versions of openai turn it into a connection error
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
                timeout=None, follow_redirects=False, event_hooks={"response": [refuse_failure]}
            ),
        )
        shared[name] = _Connections(client, asyncio.Semaphore(max_concurrency))
    return shared[name]


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
        is_deep = any(depth > MAX_DEPTH for depth, _ in enumerate(levels(options)))
    except (TypeError, ValueError, RecursionError):
        is_deep = None
    if is_deep is not False:
        raise ValueError(
            "`request_options` cannot be sent as JSON. Use text, finite numbers, True, "
            f"False, None, lists and dicts, nested at most {MAX_DEPTH} deep."
        )
    return options
