# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A tiny agent for the booking game, made from nothing: a word-level tokenizer, a policy, demonstrations, a game."""

import json
import random
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..environments.booking import CLOSED, KINDS, NEUTRAL, SLOTS, UNKNOWN_SLOT, BookingEnv, booking_dataset


if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


# ChatML, but the tools' schemas stay out of the prompt: the warm start teaches them, and prompts have 6 tokens
CHAT_TEMPLATE = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}
            {{- message.content }}
            {%- for tool_call in message.tool_calls or [] %}
                {%- set call = tool_call.function %}
                {{- '<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
                {{- (call.arguments if call.arguments is string else call.arguments | tojson) + '}\\n</tool_call>' }}
            {%- endfor %}
            {{- '<|im_end|>' }}
        {%- endgeneration %}
    {%- else %}
        {{- message.content + '<|im_end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}"""

# The way back from tokens to tool calls. TRL knows it for the templates of published models; ours is set by hand.
RESPONSE_TEMPLATE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "tool_calls": {
            "open": "<tool_call>",
            "close_pattern": r"</tool_call>\s*",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close_pattern": r"<\|im_end\|>\s*", "content": "text"},
    },
}

GOODBYE = "goodbye"
MAX_TURNS = 8  # actions of the agent: up to six questions, a booking and a goodbye

# What is never split. A question takes four tokens, and a value is the same token in the user's answer and in the
# booking, so that copying it is easy to learn.
PHRASES = (
    *("<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_start|>tool\n"),
    *("i need a ", " please", "i want ", "got ", NEUTRAL, UNKNOWN_SLOT, CLOSED, GOODBYE),
    '<tool_call>\n{"name": "ask", "arguments": {"slot": "',
    '<tool_call>\n{"name": "book", "arguments": {"',
    *('", "', '"}}\n</tool_call>'),
    *KINDS,
    *SLOTS,
    *(f'{slot}": "' for slot in SLOTS),
    *(value for values in SLOTS.values() for value in values),
)


def build_tokenizer(phrases: Sequence[str] = PHRASES) -> "PreTrainedTokenizerFast":
    """
    Build a tokenizer whose tokens are phrases, so that turns are fast to generate. Decoding inverts encoding.

    Args:
        phrases (`Sequence[str]`, *optional*):
            The phrases, by default those of the booking game. If several begin at the same place, the longest is
            taken.

    Returns:
        [`~transformers.PreTrainedTokenizerFast`]:
            Tokenizer with a chat template and a response template, ready for TRL's tool calls.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {token: token_id for token_id, token in enumerate(["<|pad|>", "<|unk|>", "<|im_end|>", *phrases])}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="<|unk|>"))
    longest_first = sorted(phrases, key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<|pad|>",
        unk_token="<|unk|>",
        eos_token="<|im_end|>",
        chat_template=CHAT_TEMPLATE,
        response_template=RESPONSE_TEMPLATE,
    )


def build_policy(tokenizer: "PreTrainedTokenizerFast") -> "PreTrainedModel":
    """
    Build a Llama of two layers with random weights.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerFast`]):
            Tokenizer of the policy.

    Returns:
        [`~transformers.PreTrainedModel`]: The policy, of about 140,000 parameters.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.1,  # the usual 0.02 is for wide models, and makes this one slow to learn to copy
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def demonstrate(num_rows: int, seed: int = 0) -> "Dataset":
    """
    Play the booking game badly, against users of the training split.

    The demonstrator asks up to three random questions, notes each answer down, and books what it knows, guessing the
    rest. It knows the format of the game, but neither what to ask nor when to stop asking.

    Args:
        num_rows (`int`):
            Number of demonstrations.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the users and of the demonstrator.

    Returns:
        [`~datasets.Dataset`]: Dataset with a conversational `messages` column.
    """
    from datasets import Dataset

    rng = random.Random(seed)
    env = BookingEnv()
    rows = []
    for row in booking_dataset("train", num_rows, seed):
        env.reset(**row)
        messages, known, note = list(row["prompt"]), {}, ""
        questions = rng.sample(list(SLOTS), rng.randint(0, 3))
        while env.booking is None:
            if questions and env.untold:
                name, arguments = "ask", {"slot": questions.pop()}
            else:
                name = "book"
                arguments = {slot: known.get(slot) or rng.choice(SLOTS[slot]) for slot in KINDS[row["kind"]]}
            # As JSON text: a dataset fills the missing keys of a dict with None
            call = {"type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            answer = getattr(env, name)(**arguments)
            messages.append({"role": "assistant", "content": note, "tool_calls": [call]})
            messages.append({"role": "tool", "name": name, "content": answer})
            note = ""
            if answer.startswith("i want "):
                # An answer shows in what the agent does next, which is where information gain looks for it
                known[arguments["slot"]] = answer.removeprefix("i want ")
                note = f"got {known[arguments['slot']]}"
        rows.append({"messages": [*messages, {"role": "assistant", "content": GOODBYE}]})
    return Dataset.from_list(rows)


def play(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", row: dict) -> tuple[list[dict], float]:
    """
    Let a policy, decoded greedily, serve one user until it has booked.

    Args:
        model ([`~transformers.PreTrainedModel`]):
            Policy.
        tokenizer ([`~transformers.PreTrainedTokenizerFast`]):
            Its tokenizer.
        row (`dict`):
            Row of a [`~trl_infopo.environments.booking_dataset`].

    Returns:
        `tuple[list[dict], float]`: The conversation and its reward.
    """
    from trl.chat_template_utils import parse_response

    env = BookingEnv()
    env.reset(**row)
    messages = list(row["prompt"])
    for _ in range(MAX_TURNS):
        inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
        output_ids = model.generate(**inputs, do_sample=False, max_new_tokens=32)[0].tolist()
        prompt_ids = inputs["input_ids"][0].tolist()
        messages.append(parse_response(tokenizer, output_ids[len(prompt_ids) :], prefix=prompt_ids))
        calls = messages[-1].get("tool_calls", [])
        for call in calls:
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            try:
                content = getattr(env, name)(**arguments)
            except (AttributeError, TypeError) as error:  # no such tool, or no such argument
                content = str(error)
            messages.append({"role": "tool", "name": name, "content": content})
        if not calls or env.booking is not None:
            break
    return messages, env.get_reward()


def score_conversation(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", messages: list[dict]
) -> list[float]:
    """
    Score the information gain of each turn of a conversation.

    Args:
        model ([`~transformers.PreTrainedModel`]):
            Policy.
        tokenizer ([`~transformers.PreTrainedTokenizerFast`]):
            Its tokenizer. The generation markers of its chat template distinguish actions from observations.
        messages (`list[dict]`):
            Conversation that begins with one user message.

    Returns:
        `list[float]`: Gain of each turn in nats per token, NaN where a turn has none.
    """
    from trl_infopo.information_gain import score_information_gain
    from trl_infopo.turns import mask_messages, segment_turns

    prompt_ids = tokenizer.apply_chat_template(messages[:1], add_generation_prompt=True)["input_ids"]

    def render(messages):
        rendered = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        completion_ids = rendered["input_ids"][len(prompt_ids) :]
        return completion_ids, segment_turns(rendered["assistant_masks"][len(prompt_ids) :])

    completion_ids, turns = render(messages)
    masked_ids, masked_turns = render(
        [mask_messages([message], NEUTRAL)[0] if message["role"] == "tool" else message for message in messages]
    )
    masked_observations = [masked_ids[turn.observation.start : turn.observation.stop] or None for turn in masked_turns]
    gains = score_information_gain(model, [prompt_ids], [completion_ids], [turns], [masked_observations])
    return gains[0].tolist()
