# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A tokenizer and a random policy that really call tools: whole calls are single tokens, and likely ones."""

import json
import math
from copy import deepcopy
from functools import cache
from pathlib import Path

import torch
import trl
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.utils import get_json_schema


CALLS = [
    f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'
    for name, arguments in (
        ("ask", '{"slot": "city"}'),
        ("ask", '{"slot": "day"}'),
        ("look_up", '{"word": "price"}'),
        ("look_up", "{}"),  # fails: an argument is missing
    )
]
WORDS = ["book", "paris", "monday", " ", "please"]


def make_tokenizer(template: str = "qwen3") -> PreTrainedTokenizerFast:
    return deepcopy(_make_tokenizer(template))


@cache
def _make_tokenizer(template: str) -> PreTrainedTokenizerFast:
    """Byte-level BPE with merges for the words of a tool schema, and one of TRL's chat templates."""
    chat_template = (Path(trl.__file__).parent / "chat_templates" / f"{template}.jinja").read_text()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    schemas = [str(get_json_schema(getattr(AskEnvironment, name))) for name in ("ask", "look_up")]
    tokenizer.train_from_iterator([chat_template.replace("\\n", "\n"), *schemas, *schemas], trainer)
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in ("<|pad|>", "<|im_start|>", "<|im_end|>")]
    )
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in [*CALLS, *WORDS[:3], WORDS[4]]])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|pad|>")
    fast.padding_side = "left"
    fast.chat_template = chat_template
    return fast


def make_model(tokenizer: PreTrainedTokenizerFast, model_type: str = "qwen3", seed: int = 0, **kwargs):
    """Random weights, but for one dimension of the residual stream that is constant, and so biases the logits."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        model_type,
        **{
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": False,
            "initializer_range": 0.2,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            **kwargs,
        },
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] = 3.0
        bias = model.get_output_embeddings().weight[:, 0]
        bias.fill_(-4.0)
        likely = [tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids([*CALLS, "book", "paris", "please"])]
        bias[likely] = torch.tensor([0.8, *[0.4] * len(CALLS), -0.3, -0.3, -0.3])
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


class AskEnvironment:
    """Answers two questions about a hidden goal; looks words up, slowly and in several lines."""

    def reset(self, city: str = "paris", **row) -> None:
        self.city, self.asked = city, []

    def ask(self, slot: str) -> str:
        """
        Ask the user.

        Args:
            slot: What to ask for.
        """
        self.asked.append(slot)
        return {"city": self.city, "day": "monday"}.get(slot, "i do not mind")

    async def look_up(self, word: str) -> str:
        """
        Look a word up.

        Args:
            word: The word.
        """
        return f"{word}:\n- one\n- two"

    def get_reward(self) -> float:
        return float("city" in self.asked) + 0.1 * len(self.asked)


def tool_call(name: str, **arguments) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def make_agent(calls: list[str], **kwargs):
    """A model to which these calls are likely single tokens, in place of [`CALLS`], and its tokenizer."""
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([AddedToken(call, special=False, normalized=False) for call in calls])
    model = make_model(tokenizer, **{"initializer_range": 0.08, **kwargs})
    with torch.no_grad():
        bias = model.get_output_embeddings().weight[:, 0]
        bias[tokenizer.convert_tokens_to_ids(CALLS)] = -4.0
        bias[tokenizer.convert_tokens_to_ids(calls)] = 2.0 - math.log(len(calls))
        bias[tokenizer.eos_token_id] = 1.2
    return model, tokenizer
