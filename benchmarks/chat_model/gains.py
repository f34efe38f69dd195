# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Gains of hand-written dialogues with a chat model of 135 million parameters: is the useful answer worth the most?

    python -m benchmarks.chat_model.gains --device cuda      # measure: minutes on a GPU, an hour on a CPU
    python -m benchmarks.chat_model.gains --table            # write the page in the docs from the committed result

Each of 30 dialogues is scored with four answers, under four placeholders, with two kinds of next action: the
hand-written one that fits the answer, also in bfloat16, and ones that the model samples itself. An interrupted run
goes on where it was; delete the result to begin anew.
"""

import json
import os
import sys
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory

import torch
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from trl import TrlParser

from trl_infopo.information_gain import score_information_gain
from trl_infopo.turns import segment_turns

from ..learning.results import versions, write_atomically
from ..meters import device_name
from .dialogues import ANSWERS, DIALOGUES, Dialogue
from .gains_page import markdown_page


ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "benchmarks" / "results" / "chat_model_gains.json"
DOCS = ROOT / "docs" / "chat_model_gains.md"
PLACEHOLDERS = {
    "published": "No information found.",
    "nothing to add": "I have nothing to add.",
    "ellipsis": "...",
    "masked": "[masked]",
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SYSTEM = "You are a helpful assistant."
SAMPLES = 2  # of the next action, for each answer
MAX_NEW_TOKENS = 32


def conversation(dialogue: Dialogue, answer: str) -> list[dict]:
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": dialogue.request},
        {"role": "assistant", "content": dialogue.question},
        {"role": "user", "content": answer},
    ]


def sample_actions(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dialogue: Dialogue, answer: str
) -> list[str]:
    inputs = tokenizer.apply_chat_template(
        conversation(dialogue, answer), add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).to(model.device)
    output = model.generate(
        **inputs,
        do_sample=True,
        top_k=0,
        max_new_tokens=MAX_NEW_TOKENS,
        num_return_sequences=SAMPLES,
        pad_token_id=tokenizer.eos_token_id,
    )
    return tokenizer.batch_decode(output[:, inputs["input_ids"].size(1) :], skip_special_tokens=True)


def score(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dialogues: list[tuple[list[dict], str]],
    placeholder: str,
) -> list[float]:
    """Gain, in nats per token, of the last message before each action."""

    def render(messages: list[dict], add_generation_prompt: bool = False) -> str:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt)

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    prompts, completions, turns, masked = [], [], [], []
    for messages, action in dialogues:
        before, asked = render(messages[:2], True), render(messages[:3])
        answered = render(messages, True)
        hidden = render([*messages[:3], {"role": "user", "content": placeholder}], True)
        question, end = asked.removeprefix(before).rsplit("<|im_end|>", 1)
        question_ids, end_ids = encode(question + "<|im_end|>"), encode(end + answered.removeprefix(asked))
        action_ids = encode(action + "<|im_end|>")
        prompts.append(encode(before))
        completions.append(question_ids + end_ids + action_ids)
        mask = [1] * len(question_ids) + [0] * len(end_ids) + [1] * len(action_ids)
        turns.append(segment_turns(mask))
        masked.append([encode(end + hidden.removeprefix(asked)), None])
    return score_information_gain(model, prompts, completions, turns, masked, engine="tree", batch_size=16)[
        :, 0
    ].tolist()


def summarize(gains: dict[str, list[float]]) -> dict:
    """Mean and spread of each kind of answer, and how often the useful one is worth the most."""
    others = [max(values) for values in zip(*(gains[answer] for answer in ANSWERS[1:]), strict=True)]
    wins = [useful > other for useful, other in zip(gains["useful"], others, strict=True)]
    return {
        **{answer: {"mean": fmean(values), "std": stdev(values)} for answer, values in gains.items()},
        "useful_is_first": fmean(wins),
    }


def load_models(device: str, *dtypes: torch.dtype) -> tuple[PreTrainedTokenizerBase, list[PreTrainedModel]]:
    """The tokenizer, and the model in each dtype."""
    sys.path.insert(0, str(ROOT / "tests"))
    from smollm2 import save_smollm2

    with TemporaryDirectory() as folder:
        save_smollm2(Path(folder))
        models = [AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device) for dtype in dtypes]
        return AutoTokenizer.from_pretrained(folder), models


@dataclass
class GainsArguments:
    """
    Arguments of the gains.
    """

    device: str = field(default="cpu", metadata={"help": "Where the model runs.", "choices": ["cpu", "cuda"]})
    table: bool = field(
        default=False,
        metadata={"help": "Measure nothing, and write `docs/chat_model_gains.md` from the result in place."},
    )


def main(argv: list[str] | None = None) -> None:
    [args] = TrlParser(GainsArguments, prog="python -m benchmarks.chat_model.gains").parse_args_and_config(argv)
    if args.table:
        DOCS.write_text(markdown_page(json.loads(RESULT.read_text())))
        print(f"Written to {os.path.relpath(DOCS)}")
        return
    tokenizer, loaded = load_models(args.device, *DTYPES.values())
    models = dict(zip(DTYPES, loaded, strict=True))
    cells = list(product(DIALOGUES, ANSWERS))
    if RESULT.exists():  # whole, or as far as it was when it was interrupted
        state = json.loads(RESULT.read_text())
        if state["device"] != device_name(args.device):
            raise SystemExit(f"{RESULT} was begun on {state['device']}: go on there, or delete it.")
    else:
        state = {
            "device": device_name(args.device),
            "versions": versions(),
            "placeholders": PLACEHOLDERS,
            "samples": SAMPLES,
            "sampled": [],
            "results": [],
        }

    def save() -> None:
        write_atomically(RESULT, json.dumps(state, indent=1) + "\n")

    written = [(conversation(d, getattr(d, a)), d.informed if a == "useful" else d.uninformed) for d, a in cells]
    done = len(state["sampled"])
    for i, (dialogue, answer) in enumerate(tqdm(cells[done:], desc="sampling", initial=done, total=len(cells)), done):
        torch.manual_seed(i)
        state["sampled"].append(sample_actions(models["float32"], tokenizer, dialogue, getattr(dialogue, answer)))
        save()
    sampled = [
        (messages, action)
        for (messages, _), actions in zip(written, state["sampled"], strict=True)
        for action in actions
    ]
    rows = [
        (dtype, placeholder, action)
        for dtype, action in (("float32", "written"), ("float32", "sampled"), ("bfloat16", "written"))
        for placeholder in PLACEHOLDERS
    ]
    done = {(row["dtype"], row["placeholder"], row["action"]) for row in state["results"]}
    missing = [row for row in rows if row not in done]
    for dtype, name, kind in tqdm(missing, desc="scoring", initial=len(done), total=len(rows)):
        dialogues, count = (written, 1) if kind == "written" else (sampled, SAMPLES)
        gains = score(models[dtype], tokenizer, dialogues, PLACEHOLDERS[name])
        by_answer = {answer: [] for answer in ANSWERS}
        for i, (_, answer) in enumerate(cells):
            by_answer[answer].append(fmean(gains[i * count : (i + 1) * count]))
        result = {"dtype": dtype, "placeholder": name, "action": kind, "gains": by_answer}
        state["results"].append(result | summarize(by_answer))
        save()
    DOCS.write_text(markdown_page(state))
    print(f"Written to {os.path.relpath(DOCS)}")


if __name__ == "__main__":
    main()
