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

"""What is checked before a training starts, so that it does not fail in its middle."""

from collections.abc import Callable
from typing import Any

from .infopo_config import InfoPOConfig
from .rollout import converses, find_tools


class CheckedFactory:
    """
    An environment factory that checks what it makes. The first environment is made at once and handed out first.

    Attributes:
        converses (`bool`):
            Whether the environments need our conversation loop: they declare a `user`, or that they can be `done`.
        has_tools (`bool`):
            Whether the environments have tools.
    """

    def __init__(self, factory: Callable[[], Any]):
        self.factory = factory
        self.first = self._make()
        self.converses = converses(self.first)
        self.has_tools = bool(find_tools(self.first))

    def __call__(self) -> Any:
        environment, self.first = self.first, None
        return self._make() if environment is None else environment

    def _make(self) -> Any:
        environment = self.factory()
        if not callable(getattr(environment, "reset", None)):
            raise ValueError(
                f"`environment_factory` made a {type(environment).__name__}, which has no `reset`. Give it a method "
                "`reset(self, **row)` that starts an episode from a row of the dataset."
            )
        placeholder = getattr(environment, "masked_feedback", InfoPOConfig.masked_feedback)
        if not isinstance(placeholder, str) or not placeholder.strip():
            raise ValueError(
                f"`{type(environment).__name__}.masked_feedback` is {placeholder!r}, which leaves the counterfactual "
                "without feedback. Set it to a text that says nothing, such as 'No information found.'."
            )
        return environment


def check_options(
    args: InfoPOConfig,
    processing_class=None,
    tools=None,
    environment_factory=None,
    rollout_func=None,
    train_dataset=None,
    **kwargs,
) -> None:
    """
    Raises:
        `ValueError`: If an option cannot work with rollouts of several turns.
    """
    if rollout_func is not None and args.max_turns is not None:
        raise ValueError(
            f"`max_turns` is {args.max_turns}, but `rollout_func` runs its own loop. Limit the turns there, and leave "
            "`max_turns` at None."
        )
    if (tools or environment_factory) and processing_class is not None and processing_class.chat_template is None:
        raise ValueError(
            f"`processing_class` ({type(processing_class).__name__}) has no chat template, but tools speak through "
            "one. Set `processing_class.chat_template`, or take the tokenizer of a chat model."
        )
    conflicts = {
        "loss_type": (args.loss_type == "vespo", "'dapo'"),
        "importance_sampling_level": (args.importance_sampling_level == "sequence", "'token'"),
        "off_policy_mask_threshold": (args.off_policy_mask_threshold is not None, "None"),
    }
    for name, (conflict, way_out) in conflicts.items():
        if conflict and args.info_gain_coef != 0:
            raise ValueError(
                f"`{name}` is {getattr(args, name)!r}, which takes one advantage per rollout, but InfoPO gives each "
                f"turn its own. Set `{name}={way_out}`, or `info_gain_coef=0.0`."
            )
    columns = [] if train_dataset is None else train_dataset.column_names
    images = {"image", "images"}.intersection(columns or [])  # None if a stream does not know its columns
    if images and (args.info_gain_coef != 0 or args.log_information_gain):
        raise ValueError(
            f"`train_dataset` has the column {images.pop()!r} and `info_gain_coef` is {args.info_gain_coef}, but "
            "InfoPO cannot score rollouts with images. Remove the column, or set `info_gain_coef=0.0` and "
            "`log_information_gain=False`."
        )
