# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A user played by a language model behind an endpoint."""

import warnings

from .._options import check_number
from .base import Scenario, UserSimulatorError
from .endpoint import ChatClient, EndpointError
from .prompt import PERSONA_PROMPT, build_system_prompt, read_reply, swap_roles
from .responses import AttemptError, Completion


class ChatUser(ChatClient):
    """
    A user played by a language model behind any OpenAI-compatible endpoint. Needs the package `openai`
    (`pip install "trl-infopo[users]"`).

    The model gets the scenario as its system prompt and the conversation with the roles swapped. It ends the
    conversation with [`END_MARKER`]; the rest of that answer is dropped. So is reasoning (`reasoning_content`,
    `<think>` blocks). A reply that `max_tokens` cuts off is used as far as it goes, with a warning.

    An attempt fails when the whole response has not arrived within `timeout` seconds, on a lost connection, on the
    statuses 408, 409, 425, 429 and 5xx, and on a response that is not a chat completion, has more than 1 MiB
    (compressed or decompressed) or an empty answer. It is repeated up to `max_retries` times, after a growing delay
    and no sooner than `Retry-After` says, as long as that is within a minute. Other statuses, such as 401 or 404, are
    not retried, and redirects are not followed. When no attempts are left, `reply` raises an error; it never makes up
    an answer.

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
            Key for the endpoint. If `None`, the environment variable `OPENAI_API_KEY`. This class writes it into no
            message, log or pickle.
        persona_prompt (`str`, *optional*, defaults to [`PERSONA_PROMPT`]):
            System prompt, a format string with the fields `profile`, `facts`, `request`, `rules` and `end_marker`.
        temperature (`float`, *optional*, defaults to `0.0`):
            Sampling temperature.
        max_tokens (`int`, *optional*, defaults to `256`):
            Largest length of an answer in the model's tokens, reasoning included.
        timeout (`float`, *optional*, defaults to `60.0`):
            Seconds that an attempt may take from its start to the last byte.
        max_retries (`int`, *optional*, defaults to `4`):
            Attempts after the first.
        backoff (`float`, *optional*, defaults to `1.0`):
            Seconds before the first retry, doubled with each further one. Each delay is shortened at random, by up to
            half.
        max_concurrency (`int`, *optional*, defaults to `64`):
            Largest number of concurrent requests of all users of the endpoint.
        request_options (`dict`, *optional*):
            Further options of the chat completions request, such as `{"extra_body": {"chat_template_kwargs":
            {"enable_thinking": False}}}`. They replace those above; `None` leaves one out. Options that may hold a
            secret (`extra_headers`, `extra_query`, text) are left out of pickles and copies, which then cannot be
            used.

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
        super().__init__(
            model,
            base_url,
            api_key,
            timeout=timeout,
            max_retries=max_retries,
            backoff=backoff,
            max_concurrency=max_concurrency,
            request_options=request_options,
        )
        check_number("seed", seed, integer=True)
        check_number("temperature", temperature, at_least=0)
        check_number("max_tokens", max_tokens, integer=True, at_least=1)
        self.scenario = scenario
        self._system_prompt = build_system_prompt(persona_prompt, scenario)
        self._options = {"temperature": float(temperature), "max_tokens": int(max_tokens), "seed": int(seed)}

    async def reply(self, messages: list[dict]) -> str | None:
        try:
            return await self.complete(swap_roles(self._system_prompt, messages), self._options, self._read)
        except EndpointError as error:
            failure = str(error)
        raise UserSimulatorError(failure)

    def _read(self, completion: Completion) -> str | None:
        reply = read_reply(completion.content)
        if reply == "":
            hint = " The model used up `max_tokens` before it said anything: raise it, or turn thinking off."
            raise AttemptError(f"an empty answer.{hint if completion.is_cut else ''}")
        if reply and completion.is_cut:
            warnings.warn(
                f"A reply of the user model {self.model!r} was cut off at its `max_tokens`. Raise it, or ask for "
                "shorter answers in the scenario's `rules`.",
                stacklevel=1,
            )
        return reply
