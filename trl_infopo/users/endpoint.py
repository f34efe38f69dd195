# Copyright 2026 The trl-infopo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""OpenAI-compatible endpoints: where they are, with which key, and one client for all who talk to the same."""

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit


if TYPE_CHECKING:
    from openai import AsyncOpenAI

DEFAULT_BASE_URL = "https://api.openai.com/v1"


@dataclass
class Endpoint:
    """A client and how many requests may be under way at once."""

    client: "AsyncOpenAI"
    slots: asyncio.Semaphore


# Environments make a new user for every episode, but connections belong to an event loop
_endpoints: dict[asyncio.AbstractEventLoop, dict[tuple, Endpoint]] = {}


def shared_endpoint(base_url: str, api_key: str, max_concurrency: int) -> Endpoint:
    """The same connections and the same limit for all who ask on this event loop."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    for loop in list(_endpoints):
        if loop.is_closed():
            _endpoints.pop(loop, None)
    endpoints = _endpoints.setdefault(asyncio.get_running_loop(), {})
    name = (base_url, api_key, max_concurrency)
    if name not in endpoints:
        # Retries and timeouts are ours, so that one policy holds for everything that can go wrong. The HTTP client is
        # given because the one that openai makes closes itself in whichever event loop its object is collected.
        client = AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            max_retries=0,
            timeout=None,
            http_client=DefaultAsyncHttpxClient(timeout=None),
        )
        endpoints[name] = Endpoint(client, asyncio.Semaphore(max_concurrency))
    return endpoints[name]


def find_key(api_key: str | None) -> str:
    """
    Raises:
        `ValueError`: If there is no key, or none that a header can carry. It does not show the key.
    """
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
        `ValueError`: If it is no address of an endpoint, or holds a secret.
    """
    base_url = base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL
    url = urlsplit(base_url)
    if url.username or url.password or url.query:
        # HTTP libraries log addresses. This error must not name it either
        raise ValueError("`base_url` has a user name, a password or a query. Addresses are logged: use `api_key`.")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"`base_url` is {base_url!r}, write it like 'http://localhost:8000/v1'.")
    return base_url
