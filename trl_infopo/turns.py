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

"""Tokens become turns here: what the policy did, what came back, and what came back with its content masked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby


@dataclass(frozen=True)
class Turn:
    """
    One exchange of a rollout. The action that follows is the next turn's `action`.

    Attributes:
        action (`range`):
            Positions in the completion of the tokens that the policy sampled.
        observation (`range`):
            Positions of the tokens that came back, the chat template's scaffolding included; empty when nothing did.
    """

    action: range
    observation: range


def segment_turns(action_mask: list[int]) -> list[Turn]:
    """
    Split one completion into turns.

    Args:
        action_mask (`list[int]`):
            One value per completion token, without padding: 1 where the policy sampled the token, 0 where it came from
            outside. A leading run of 0 belongs to the prompt.

    Returns:
        `list[Turn]`: The turns in order; empty when the policy sampled nothing.

    Raises:
        `ValueError`: If a value is neither 0 nor 1.

    Example:

    ```python
    >>> from trl_infopo.turns import segment_turns

    >>> segment_turns([1, 1, 0, 0, 0, 1])
    [Turn(action=range(0, 2), observation=range(2, 5)), Turn(action=range(5, 6), observation=range(6, 6))]
    ```
    """
    if not set(action_mask) <= {0, 1}:
        raise ValueError(
            f"An action mask holds 1 for sampled and 0 for external tokens, got {sorted(set(action_mask))}. Check the "
            "`env_mask` that your `rollout_func` returns."
        )
    turns = []
    for is_sampled, run in groupby(range(len(action_mask)), key=action_mask.__getitem__):
        positions = list(run)
        span = range(positions[0], positions[-1] + 1)
        if is_sampled:
            turns.append(Turn(action=span, observation=range(span.stop, span.stop)))
        elif turns:
            turns[-1] = replace(turns[-1], observation=span)
    return turns


def tool_blocks(completion: list[dict]) -> list[list[dict]]:
    """
    The runs of adjacent `tool` messages of a completion: one per turn that called tools, parallel calls together.

    Args:
        completion (`list[dict]`):
            Messages of one rollout, in order.

    Returns:
        `list[list[dict]]`: The tool messages of each turn.
    """
    return [list(run) for role, run in groupby(completion, key=lambda message: message["role"]) if role == "tool"]


def mask_messages(messages: list[dict], placeholder: str) -> list[dict]:
    """
    Replace the content of messages, structured content by one block of text, and keep everything else.

    Args:
        messages (`list[dict]`):
            Messages that brought the feedback.
        placeholder (`str`):
            Text that says nothing.

    Returns:
        `list[dict]`: The masked messages.
    """
    block = [{"type": "text", "text": placeholder}]
    return [{**m, "content": block if isinstance(m["content"], list) else placeholder} for m in messages]


def mask_content_ids(
    observation_ids: Sequence[int], placeholder_ids: list[int], content_mask: Sequence[int] | None = None
) -> list[int]:
    """
    Replace the content of an observation of which only the token ids are known.

    Args:
        observation_ids (`Sequence[int]`):
            Token ids of the observation.
        placeholder_ids (`list[int]`):
            Token ids of the placeholder.
        content_mask (`Sequence[int]`, *optional*):
            1 on the tokens that are content, 0 on scaffolding. Each run of content becomes one placeholder. Without
            it, the whole observation does.

    Returns:
        `list[int]`: Token ids of the masked observation.
    """
    if content_mask is None:
        return list(placeholder_ids)
    masked_ids = []
    for is_content, run in groupby(zip(observation_ids, content_mask, strict=True), key=lambda pair: pair[1]):
        masked_ids += placeholder_ids if is_content else [token_id for token_id, _ in run]
    return masked_ids
