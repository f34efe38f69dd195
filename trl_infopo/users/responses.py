# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What comes back from an OpenAI-compatible endpoint: read within limits, whatever it is."""

import json
import math
import re
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from typing import Any

from .._describe import public_url
from .base import encodable


MAX_RESPONSE_BYTES = 2**20  # of a whole response, packed or unpacked; no more of it is read
MAX_TOKENS = 10**9  # that one response can have cost; what says more is no count
MAX_DEPTH = 64  # of nested JSON; code that copies or writes it recurses as deep
RETRIED_STATUSES = (408, 409, 425, 429)  # and all from 500 on
HINTS = {
    400: "See whether the model takes all options of the request; `request_options` changes them.",
    401: "Check `api_key` or OPENAI_API_KEY.",
    403: "Check what the API key may be used for.",
    404: "Check `base_url` and `model`.",
}


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


class StatusError(Exception):
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


async def refuse_failure(response: Any) -> None:
    """Called by the HTTP client before anybody reads the body of a response."""
    if response.is_success:
        return
    try:
        text = repr(_decode(await read_body(response)))
    except AttemptError as error:
        text = str(error)
    raise StatusError(response.status_code, response.headers, text)


async def read_body(response: Any) -> bytes:
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


def transport_errors() -> list[type[Exception]]:
    """Errors that reading a body may raise. (When a request is sent, openai turns all of them into one.)"""
    import anyio

    # openai is built on httpx, from version 3 on httpx2, which lets some errors of TLS connections through
    http_errors = [sys.modules[name].HTTPError for name in ("httpx", "httpx2") if name in sys.modules]
    return [*http_errors, anyio.EndOfStream, OSError]


def _decode(body: bytes) -> str:
    """Text to show, also from an error page in UTF-16."""
    return body.decode(errors="replace").replace("\0", "")


def read_completion(body: bytes) -> tuple[Completion, int]:
    """A chat completion, and the number of tokens that it cost."""
    try:
        response = read_json(body)
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


def read_json(text: str | bytes) -> Any:
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
        arguments = read_json(text) if isinstance(text, str) else text
        as_it_is = text if isinstance(text, str) else json.dumps(text)
    except (ValueError, RecursionError):
        return text
    for depth, level in enumerate(levels(arguments)):
        if depth > MAX_DEPTH or any(isinstance(item, float) and not math.isfinite(item) for item in level):
            return as_it_is
    return arguments


def levels(value: Any) -> Iterator[list]:
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
