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

import asyncio
import json
import random
import re
import sys
import time
import warnings
from email.utils import mktime_tz, parsedate_tz
from importlib.util import find_spec
from typing import TYPE_CHECKING

from .base import Scenario, Usage, UserSimulatorError
from .endpoint import find_base_url, find_key, shared_endpoint
from .prompt import PERSONA_PROMPT, build_system_prompt, read_reply, swap_roles


if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai import AsyncOpenAI

MAX_RESPONSE_BYTES = 2**20  # of a whole response, the model's thoughts included; no more of it is read
MAX_WAIT = 60.0  # seconds before a retry, whatever the server asks for
RETRIED_STATUSES = (408, 409, 425, 429)  # and all from 500 on
HINTS = {
    400: "See whether the model takes all options of the request; `request_options` changes them.",
    401: "Check `api_key` or OPENAI_API_KEY.",
    403: "Check what the API key may be used for.",
    404: "Check `base_url` and `model`.",
}


class ChatUser:
    """
    A user played by a language model behind any OpenAI-compatible endpoint. Needs the package `openai`
    (`pip install "trl-infopo[users]"`).

    The model gets the scenario as its system prompt and the conversation with the roles swapped. It ends the
    conversation with [`END_MARKER`]; what else is in that answer is not said. Thoughts (`reasoning_content`, `<think>`
    blocks) are dropped. A reply that `max_tokens` cuts off is said as far as it goes, with a warning.

    An attempt fails on a timeout, a lost connection, the statuses 408, 409, 425, 429 and 5xx, a response that is not a
    chat completion or has more than 1 MiB, and an empty answer. It is repeated up to `max_retries` times, after a
    growing delay and no sooner than `Retry-After` says, as long as that is within a minute. Other statuses, such as
    401 or 404, are not retried. When attempts run out, `reply` raises, and never makes an answer up.

    All users of one endpoint on an event loop share its connections and its limit of concurrent requests.

    Args:
        scenario ([`Scenario`]):
            What the user knows.
        seed (`int`, *optional*, defaults to `0`):
            Seed that is sent with each request.
        model (`str`):
            Name of the model at the endpoint.
        base_url (`str`, *optional*):
            Address of the endpoint, such as `"http://localhost:8000/v1"`. If `None`, the environment variable
            `OPENAI_BASE_URL`, or else OpenAI's.
        api_key (`str`, *optional*):
            Key for the endpoint. If `None`, the environment variable `OPENAI_API_KEY`. It is in no message, log or
            pickle of this class.
        persona_prompt (`str`, *optional*, defaults to [`PERSONA_PROMPT`]):
            System prompt, a format string with the fields `profile`, `facts`, `request`, `rules` and `end_marker`.
        temperature (`float`, *optional*, defaults to `0.0`):
            Sampling temperature.
        max_tokens (`int`, *optional*, defaults to `256`):
            Cap on the length of an answer, in the model's tokens, its thoughts included.
        timeout (`float`, *optional*, defaults to `60.0`):
            Seconds that an attempt may take from its start to the last byte.
        max_retries (`int`, *optional*, defaults to `4`):
            Attempts after the first.
        backoff (`float`, *optional*, defaults to `1.0`):
            Seconds before the first retry, doubled with each further one. The delays are spread at random, down to
            half.
        max_concurrency (`int`, *optional*, defaults to `64`):
            Largest number of requests that the users of an endpoint have under way at once.
        request_options (`dict`, *optional*):
            Further options of the chat completions request, such as `{"extra_body": {"chat_template_kwargs":
            {"enable_thinking": False}}}`. They replace those above; `None` leaves one out.

    Raises:
        `ImportError`: If `openai` is not installed.
        `ValueError`: If there is no API key, or an argument is out of range.

    Example:

    ```python
    from functools import partial

    from trl_infopo.users import ChatUser

    make_user = partial(ChatUser, model="Qwen/Qwen3-8B", base_url="http://localhost:8000/v1", api_key="local")
    ```
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int = 0,
        *,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        persona_prompt: str = PERSONA_PROMPT,
        temperature: float = 0.0,
        max_tokens: int = 256,
        timeout: float = 60.0,
        max_retries: int = 4,
        backoff: float = 1.0,
        max_concurrency: int = 64,
        request_options: dict | None = None,
    ):
        if find_spec("openai") is None:
            raise ImportError('ChatUser needs the package `openai`: pip install "trl-infopo[users]"')
        if not model:
            raise ValueError(f"`model` is {model!r}, set it to the name of a model at the endpoint.")
        for name, value, least in (
            ("max_tokens", max_tokens, 1),
            ("max_retries", max_retries, 0),
            ("max_concurrency", max_concurrency, 1),
            ("backoff", backoff, 0),
        ):
            if value < least:
                raise ValueError(f"`{name}` is {value}, set it to at least {least}.")
        if timeout <= 0:
            raise ValueError(f"`timeout` is {timeout}, set it to the seconds that an attempt may take.")
        find_key(api_key)
        self.scenario = scenario
        self.model = model
        self.base_url = find_base_url(base_url)
        self.timeout = timeout
        self.max_retries = max_retries
        self.backoff = backoff
        self.max_concurrency = max_concurrency
        self.usage = Usage()
        self._api_key = api_key
        self._system_prompt = build_system_prompt(persona_prompt, scenario)
        self._options = {
            "temperature": temperature,
            "max_tokens": max_tokens,
            "seed": seed,
            **(request_options or {}),
        }
        self._jitter = random.Random()  # of its own: the delays must not touch the global generator

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r}, base_url={self.base_url!r})"

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_api_key": None}  # a copy reads OPENAI_API_KEY

    async def reply(self, messages: list[dict]) -> str | None:
        options = {name: value for name, value in self._options.items() if value is not None}
        request = {"model": self.model, "messages": swap_roles(self._system_prompt, messages), **options}
        attempts = 0
        while True:
            attempts += 1
            try:
                return await self._attempt(request)
            except _AttemptError as error:
                failure = error
            self.usage.errors += 1
            if failure.is_final or attempts > self.max_retries:
                break
            delay = self.backoff * 2 ** (attempts - 1) * self._jitter.uniform(0.5, 1)
            await asyncio.sleep(min(failure.retry_after + delay, MAX_WAIT))
        # Outside of `except`: an error of openai, which holds the request and so the key, must not hang on this one
        raise UserSimulatorError(
            f"The model {self.model!r} at {self.base_url} gave no answer in {attempts} "
            f"attempt{'s' if attempts > 1 else ''}. {'It was' if attempts == 1 else 'The last one was'}: "
            f"{self._without_key(str(failure))}"
        )

    async def _attempt(self, request: dict) -> str | None:
        endpoint = shared_endpoint(self.base_url, find_key(self._api_key), self.max_concurrency)
        async with endpoint.slots:
            content, finish_reason, tokens = _parse(await self._send(endpoint.client, request))
        self.usage.tokens += tokens
        reply = read_reply(content)
        cut = finish_reason == "length"
        if reply == "":
            hint = " The model used up `max_tokens` before it said anything: raise it, or turn thinking off."
            raise _AttemptError(f"an empty answer.{hint if cut else ''}")
        if reply and cut:
            warnings.warn(
                f"A reply of the user model {self.model!r} was cut off at its `max_tokens`. Raise it, or ask for "
                "shorter answers in the scenario's `rules`.",
                stacklevel=1,
            )
        return reply

    async def _send(self, client: "AsyncOpenAI", request: dict) -> bytes:
        """Get the body of one response, or find out why there is none."""
        import openai

        try:
            async with (
                asyncio.timeout(self.timeout),  # the client's own timeout starts anew with every byte
                client.chat.completions.with_streaming_response.create(**request) as response,
            ):
                body = bytearray()
                async for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_RESPONSE_BYTES:
                        raise _AttemptError(f"a response of more than {MAX_RESPONSE_BYTES} bytes, dropped unread.")
                return bytes(body)
        except TimeoutError:
            raise _AttemptError(f"no complete response within the `timeout` of {self.timeout} s.") from None
        except openai.APIStatusError as error:
            status = error.status_code
            hint = f" {HINTS[status]}" if status in HINTS else ""
            raise _AttemptError(
                f"status {status}.{hint} The server says: {error.response.text!r}",
                is_final=status not in RETRIED_STATUSES and status < 500,
                retry_after=_retry_after(error.response.headers),
            ) from None
        except (openai.APIConnectionError, *_transport_errors()) as error:
            cause = error.__cause__ or error
            raise _AttemptError(f"a failed connection, {type(cause).__name__}: {cause}") from None

    def _without_key(self, text: str) -> str:
        """Servers echo keys in error texts. What is shorter than six characters is no secret but a common word."""
        key = find_key(self._api_key)
        # Before the text is cut, which could leave half a key
        text = text.replace(key, "[API key]") if len(key) >= 6 else text
        return text if len(text) <= 600 else f"{text[:600]}..."


class _AttemptError(Exception):
    def __init__(self, cause: str, is_final: bool = False, retry_after: float = 0.0):
        super().__init__(cause)
        self.is_final = is_final
        self.retry_after = retry_after


def _transport_errors() -> list[type[Exception]]:
    """What reading a body may raise, unlike sending a request, where openai makes one error of them all."""
    import anyio

    # openai is built on httpx, from version 3 on httpx2, which lets some errors of TLS connections through
    http_errors = [sys.modules[name].HTTPError for name in ("httpx", "httpx2") if name in sys.modules]
    return [*http_errors, anyio.EndOfStream, OSError]


def _parse(body: bytes) -> tuple[str, str | None, int]:
    """Content, finish reason and tokens of a chat completion."""
    try:
        completion = json.loads(body)
        choice = completion["choices"][0]
        content = choice["message"]["content"] or ""
        tokens = int((completion.get("usage") or {}).get("total_tokens") or 0)
        finish_reason = choice.get("finish_reason")
        if not isinstance(content, str):
            raise TypeError(f"content is of type {type(content).__name__}")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        text = body.decode(errors="replace")
        raise _AttemptError(f"a response that is not a chat completion ({error!r}): {text!r}") from None
    return content, finish_reason, tokens


def _retry_after(headers: "Mapping[str, str]") -> float:
    """Seconds that a server asks to wait, in either form of the header, 0 if it does not ask."""
    value = headers.get("retry-after", "")
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    date = parsedate_tz(value)
    return max(mktime_tz(date) - time.time(), 0.0) if date else 0.0
