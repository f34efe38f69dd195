# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A tiny policy that speaks the format of an environment: supervised on conversations of its scripted oracle."""

import json
from pathlib import Path

from datasets import Dataset
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed
from trl import SFTConfig, SFTTrainer

from trl_infopo.evaluation import evaluate
from trl_infopo.scripts.tiny_agent import CHAT_TEMPLATE, RESPONSE_TEMPLATE


SPECIAL = ["<|pad|>", "<|im_start|>", "<|im_end|>"]


def demonstrate(oracle, environment_factory, tasks, max_turns: int) -> list[list[dict]]:
    """Conversations in which the oracle does the tasks, as SFT needs them: tool arguments as JSON text."""
    evaluation = evaluate(oracle, {"user": environment_factory}, tasks, max_turns=max_turns, show_progress=False)
    for record in evaluation.records:
        for message in record["messages"]:
            for call in message.get("tool_calls") or []:
                call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    return [record["messages"] for record in evaluation.records]


def make_tokenizer(conversations: list[list[dict]]) -> PreTrainedTokenizerFast:
    """Byte-level BPE of the conversations, so that what often recurs in them is few tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1500, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator((json.dumps(conversation) for conversation in conversations), trainer)
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        chat_template=CHAT_TEMPLATE,
        response_template=RESPONSE_TEMPLATE,
    )


def warm_start(path: Path, oracle, environment_factory, tasks, max_turns: int = 30, max_steps: int = 60) -> None:
    """Train the policy and save it and its tokenizer."""
    set_seed(0)
    conversations = demonstrate(oracle, environment_factory, tasks, max_turns)
    tokenizer = make_tokenizer(conversations)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            initializer_range=0.1,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    SFTTrainer(
        model=model,
        args=SFTConfig(
            str(path),
            max_steps=max_steps,
            per_device_train_batch_size=8,
            learning_rate=5e-3,
            warmup_steps=10,
            max_length=1024,
            assistant_only_loss=True,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=20,
        ),
        train_dataset=Dataset.from_list([{"messages": conversation} for conversation in conversations]),
        processing_class=tokenizer,
    ).train()
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
