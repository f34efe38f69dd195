# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The only module that depends on TRL's version, with the list of TRL's private names that we use."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from inspect import isfunction, ismethod
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from .calls import encodable_message


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from trl import GRPOTrainer


SUPPORTED_TRL = ">=1.15,<1.17"  # as in pyproject.toml
PARSES_WITH_TOOLS = Version(version("trl")) >= Version("1.16.0.dev0")  # `parse_response` of 1.15 takes no tools

_schemas: WeakKeyDictionary[Callable, dict] = WeakKeyDictionary()  # of functions and of methods' functions

# Overridden in `InfoPOTrainer` and its bases `ConversationTrainer` and `WholeCheckpoints`, with the parameters that
# each must have
OVERRIDDEN = {
    "__init__": ("self", "model", "reward_funcs", "args"),
    "_generate": ("self", "prompts"),
    "_calculate_rewards": ("self", "inputs", "prompts", "completions", "completion_ids_list"),
    "_generate_and_score_completions": ("self", "inputs"),
    "_generate_single_turn": ("self", "prompt_ids", "images", "multimodal_fields", "num_generations"),
    "_get_tool_suffix_ids": ("self", "tool_messages"),
    "_get_train_sampler": ("self", "dataset"),
    "_load_rng_state": ("self", "checkpoint"),
    "_save_checkpoint": ("self", "model", "trial"),
    "_save_rng_state": ("self", "output_dir"),
    "_tool_call_loop": (
        "self",
        "prompts",
        "prompt_ids",
        "completion_ids",
        "completions",
        "logprobs",
        "images",
        "multimodal_fields",
    ),
    "create_model_card": ("self", "model_name"),
    "log": ("self", "logs"),
    "train": ("self", "resume_from_checkpoint"),
    "training_step": ("self", "model", "inputs"),
}
# Read, written or appended to by them
ATTRIBUTES = (
    "_buffered_inputs",
    "_dist",
    "_has_async_funcs",
    "_is_vlm",
    "_logs",
    "_metrics",
    "_step",
    "_tokenizer",
    "chat_template",
    "chat_template_kwargs",
    "eos_token_ids",
    "environments",
    "log_completions",
    "max_completion_length",
    "max_tool_calling_iterations",
    "num_generations",
    "num_generations_eval",
    "num_iterations",
    "reward_func_names",
    "reward_weights",
    "rollout_func",
    "temperature",
    "tools",
    "use_vllm",
    "vllm_mode",
    "vllm_tensor_parallel_size",
)
# The same where there are environments; the last two are rebuilt for each batch
ATTRIBUTES_OF_ENVIRONMENTS = ("_env_tools", "_standalone_tools", "_async_tool_dicts", "_sync_tool_dicts")


def check_trl_version(installed: str | None = None) -> None:
    """
    Raises:
        `ImportError`: If the installed TRL is not one that this package was tested with.
    """
    installed = installed or version("trl")
    if not SpecifierSet(SUPPORTED_TRL).contains(installed):
        raise ImportError(
            f"trl-infopo supports trl{SUPPORTED_TRL}, but trl=={installed} is installed. Install a supported version "
            f"with `pip install 'trl{SUPPORTED_TRL}'`, or look for a newer trl-infopo."
        )


@contextmanager
def without_tools() -> Iterator[None]:
    """
    Let `GRPOTrainer` be made with environments that have a user and no tools.

    TRL treats every environment as a set of tools, in three places:

    1. any `environment_factory` needs a chat template that renders tool calls: this check is off inside the context;
    2. the response template and a prefix-preserving chat template are set up only `if self.tools`: not needed to parse
       plain text, and `ConversationTrainer` checks the chat template for user messages itself;
    3. the loop over turns runs only `if self.tools`: [`NoTools`] is empty and truthy.

    Inside this context, the functions behind the first two do nothing: TRL would take the methods that we call
    ourselves for tools.
    """
    from trl.trainer import grpo_trainer

    disabled = {
        "supports_tool_calling": lambda processing_class: True,
        "add_response_schema": lambda processing_class: processing_class,
        "is_chat_template_prefix_preserving": lambda processing_class: True,
    }
    functions = {name: getattr(grpo_trainer, name) for name in disabled}
    vars(grpo_trainer).update(disabled)
    try:
        yield
    finally:
        vars(grpo_trainer).update(functions)


class NoTools(list):
    """An empty collection of tools that is truthy: TRL checks `if self.tools` before it enters its loop over turns."""

    def __bool__(self) -> bool:
        return True


def max_model_length(trainer: "GRPOTrainer") -> int:
    """Length of the context of a trainer's model in tokens: what its vLLM engine holds, or else all positions."""
    if trainer.use_vllm and trainer.vllm_mode == "colocate":
        return trainer.vllm_generation.llm.llm_engine.model_config.max_model_len
    return trainer.model.config.get_text_config().max_position_embeddings


@contextmanager
def parsing_safely() -> Iterator[None]:
    """Let `GRPOTrainer` parse what a policy sampled with [`parse_safely`], which no sample can break."""
    from trl.trainer import grpo_trainer

    parse = grpo_trainer.parse_response
    grpo_trainer.parse_response = parse_safely
    try:
        yield
    finally:
        grpo_trainer.parse_response = parse


def parse_safely(tokenizer: "PreTrainedTokenizerBase", ids: list[int], **arguments) -> dict:
    """
    The assistant message that TRL parses from sampled ids, with text that can be encoded. JSON may hold halves of
    surrogate pairs, which no tokenizer accepts, and may be nested too deeply for Python. What cannot be parsed becomes
    a message without calls.
    """
    from trl.chat_template_utils import parse_response

    try:
        if arguments.get("tools"):
            arguments["tools"] = [_schema(tool) for tool in arguments["tools"]]
        return encodable_message(parse_response(tokenizer, ids, **arguments))
    except (ValueError, LookupError, ArithmeticError, AttributeError, RecursionError):
        return {"role": "assistant", "content": tokenizer.decode(ids, skip_special_tokens=True)}


def _schema(tool: Callable | dict) -> Callable | dict:
    """The JSON schema of a tool, which transformers would build again for each message that it parses."""
    from transformers.utils import get_json_schema

    if not isfunction(tool) and not ismethod(tool):
        return tool
    function = tool.__func__ if ismethod(tool) else tool
    if function not in _schemas:
        _schemas[function] = get_json_schema(tool)
    return _schemas[function]


def parse_action(
    tokenizer: "PreTrainedTokenizerBase", ids: list[int], context: list[int], tools: list[Callable]
) -> dict:
    """The assistant message that a policy sampled, parsed as TRL does: with the response template, if there is one."""
    if getattr(tokenizer, "response_template", None) is None:
        return {"role": "assistant", "content": tokenizer.decode(ids, skip_special_tokens=True)}
    return parse_safely(tokenizer, ids, prefix=context, **({"tools": tools} if PARSES_WITH_TOOLS else {}))


def is_malformed_call(tokenizer: "PreTrainedTokenizerBase", ids: list[int], message: dict) -> bool:
    """
    Whether sampled ids contain, outside of reasoning, the beginning of a tool call that their message lacks.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            Tokenizer, with a response template if it parses tool calls.
        ids (`list[int]`):
            Token ids that the policy sampled.
        message (`dict`):
            The message that was parsed from them.

    Returns:
        `bool`: Whether a call cannot be parsed.
    """
    template = getattr(tokenizer, "response_template", None)
    if message.get("tool_calls") or template is None or "tool_calls" not in template["fields"]:
        return False
    said = tokenizer.decode(ids).rpartition("</think>")[2].partition("<think>")[0]
    return _call_opening(template["fields"]["tool_calls"]) in said


def _call_opening(field: dict) -> str:
    """Text with which a tool call begins in a response template: its tag, or the text before the tool's name."""
    if "open" in field:
        return field["open"]
    head = field["open_pattern"].partition("(?P<")[0]
    tag = re.search(r"<[\w|\\]+>", head)
    return re.sub(r"\\(.)", r"\1", tag[0] if tag else head.partition("\\s")[0])
