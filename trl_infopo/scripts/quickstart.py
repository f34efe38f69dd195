# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""InfoPO from nothing, in minutes, on a laptop's CPU: a tiny agent learns to ask before it acts.

A word-level tokenizer and a small transformer are made from nothing, warm-started on noisy demonstrations with TRL's
`SFTTrainer`, and trained with `InfoPOTrainer` with the scripted user of `BookingEnv`. Nothing is downloaded.

```bash
trl-infopo quickstart
trl-infopo quickstart --compare --seed 1
```
"""

import json
import math
import os
import random
import re
import shlex
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._options import check_fields, check_number, check_output_dir
from ..environments.booking import CLOSED, KINDS, NEUTRAL, SLOTS, UNKNOWN_SLOT, BookingEnv, booking_dataset
from .arguments import parse_arguments


if TYPE_CHECKING:
    from datasets import Dataset
    from rich.console import Console
    from rich.table import Table
    from transformers import PreTrainedModel, PreTrainedTokenizerFast, TrainerCallback

    from trl_infopo import InfoPOTrainer

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

# The way back from tokens to tool calls. TRL knows it for the templates of published models, ours is set by hand.
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


@dataclass
class QuickstartArguments:
    """
    Arguments of the quick start.

    Args:
        seed (`int`, *optional*, defaults to `0`):
            Seed of the demonstrations, the weights, the users and the sampling.
        compare (`bool`, *optional*, defaults to `False`):
            Whether to train with GRPO too, from the same warm start.
        output_dir (`str`, *optional*, defaults to `"infopo-quickstart"`):
            Directory for the trained policy and its tokenizer, and for the traces of each training.
        warm_start_steps (`int`, *optional*, defaults to `512`):
            Steps of supervised warm start, each on 32 demonstrations.
        steps (`int`, *optional*, defaults to `120`):
            Steps of InfoPO, each on 8 groups of 8 rollouts.
        info_gain_coef (`float`, *optional*, defaults to `0.5`):
            Weight of the information gain.
        num_held_out (`int`, *optional*, defaults to `256`):
            Number of held-out users that the policy is evaluated on.

    Raises:
        `ValueError`: If an argument is of another type or out of range, or the directory cannot be written to.
    """

    seed: int = field(
        default=0,
        metadata={"help": "Seed of the demonstrations, the weights, the users and the sampling."},
    )
    compare: bool = field(
        default=False,
        metadata={
            "help": "Whether to train with GRPO too, from the same warm start, with the same seed and settings: GRPO "
            "is InfoPO with `info_gain_coef` 0."
        },
    )
    output_dir: str = field(
        default="infopo-quickstart",
        metadata={"help": "Directory for the trained policy and its tokenizer; `from_pretrained` loads both."},
    )
    warm_start_steps: int = field(
        default=512,
        metadata={
            "help": "Steps of supervised warm start, each on 32 demonstrations. They teach the format of tool calls "
            "and to copy an answer into the booking, but neither what to ask nor when to stop asking."
        },
    )
    steps: int = field(
        default=120,
        metadata={
            "help": "Steps of InfoPO, each on 8 groups of 8 rollouts. At first, many groups tie, because hardly any "
            "rollout asks enough, and the agent can learn only from the information gain."
        },
    )
    info_gain_coef: float = field(
        default=0.5,
        metadata={"help": "Weight of the information gain. The paper uses 0.5 for user-centric games."},
    )
    num_held_out: int = field(
        default=256,
        metadata={"help": "Number of held-out users for the evaluation. Their goals never occur in training."},
    )

    def __post_init__(self):
        check_fields(self)
        check_number("seed", self.seed, integer=True, at_least=0, at_most=2**32 - 1)
        for name in ("warm_start_steps", "steps", "num_held_out"):
            check_number(name, getattr(self, name), integer=True, at_least=1, at_most=100_000)
        check_number("info_gain_coef", self.info_gain_coef, at_least=0)
        check_output_dir("output_dir", self.output_dir)


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


def main(argv: list[str] | None = None) -> None:
    """
    Run the quick start.

    Args:
        argv (`list[str]`, *optional*):
            Command-line arguments. If `None`, those of the process.
    """
    args = _read_arguments(argv)
    # The libraries take seconds to load, and before them nothing else would show that it has started
    print(f"training a policy in {args.output_dir}, which takes a few minutes", flush=True)
    _load_libraries(args.seed)
    from rich.console import Console

    start = time.perf_counter()
    console = Console()
    tokenizer = build_tokenizer()
    warm_start = _train_warm_start(args, tokenizer, console)
    held_out = booking_dataset("test", args.num_held_out, args.seed)
    coefficients = {"InfoPO": args.info_gain_coef, "GRPO": 0.0} if args.compare else {"InfoPO": args.info_gain_coef}
    policies, success, seconds = {}, {}, {}
    for title, info_gain_coef in coefficients.items():
        policies[title] = build_policy(tokenizer)
        policies[title].load_state_dict(warm_start.state_dict())
        trainer = _make_trainer(title, info_gain_coef, policies[title], args, tokenizer, held_out, console)
        success["warm start"] = trainer.evaluate()["eval_reward"]
        seconds[title] = trainer.train().metrics["train_runtime"]
        success[title] = trainer.evaluate()["eval_reward"]
        trainer.save_state()  # the learning curves of the report
    _save(args, policies["InfoPO"], tokenizer, success, seconds)

    _print_conversations(console, warm_start, policies["InfoPO"], tokenizer, held_out)
    _print_results(console, args, success, seconds)
    console.print(f"time: {time.perf_counter() - start:.0f} s")


def _read_arguments(argv: list[str] | None) -> QuickstartArguments:
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from trl import TrlParser

    parser = TrlParser(
        QuickstartArguments,
        prog="trl-infopo quickstart",
        description="Train a tiny agent to ask before it acts, from nothing, on the CPU.",
    )
    (args,) = parse_arguments(parser, argv)
    return args


def _load_libraries(seed: int) -> None:
    """Load the libraries that take seconds, before the clock starts, silence their output, and set the seed."""
    import datasets
    import torch
    import transformers
    from trl import SFTConfig, SFTTrainer  # noqa: F401

    from trl_infopo import InfoPOConfig, InfoPOTrainer  # noqa: F401

    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    torch.set_num_threads(1)  # more threads only get into each other's way in a model this small
    transformers.set_seed(seed)


def _make_progress_callback(title: str, metrics: dict[str, str], console: "Console") -> "TrainerCallback":
    """One line of progress for a whole training."""
    from transformers import TrainerCallback

    from trl_infopo._progress import ProgressBar

    class ProgressCallback(TrainerCallback):
        def __init__(self):
            self.bar = None

        def on_train_begin(self, args, state, control, **kwargs):
            self.bar = ProgressBar(f"{title:<10}", state.max_steps, console=console)
            self.bar.start()

        def on_step_end(self, args, state, control, **kwargs):
            self.bar.update(state.global_step)

        def on_log(self, args, state, control, logs, **kwargs):
            values = [f"{name} {logs[key]:.2f}" for name, key in metrics.items() if key in logs]
            if self.bar and values:
                self.bar.update(text=" · ".join(values))

        def on_train_end(self, args, state, control, **kwargs):
            self.bar.stop()
            self.bar = None

    return ProgressCallback()


def _shared_options(args: QuickstartArguments) -> dict[str, Any]:
    """Options that the warm start and the trainings have in common."""
    return {
        "seed": args.seed,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "adam_beta2": 0.99,
        "logging_steps": 5,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def _train_warm_start(
    args: QuickstartArguments, tokenizer: "PreTrainedTokenizerFast", console: "Console"
) -> "PreTrainedModel":
    """A policy that has learnt the format of the game from noisy demonstrations."""
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    policy = build_policy(tokenizer)
    trainer = SFTTrainer(
        model=policy,
        args=SFTConfig(
            **_shared_options(args),
            output_dir=args.output_dir,
            max_steps=args.warm_start_steps,
            per_device_train_batch_size=32,
            learning_rate=5e-3,
            lr_scheduler_type="cosine",
            warmup_steps=20,
            assistant_only_loss=True,
        ),
        train_dataset=demonstrate(32 * args.warm_start_steps, args.seed),
        processing_class=tokenizer,
        callbacks=[_make_progress_callback("warm start", {"loss": "loss"}, console)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return policy


def _make_trainer(
    title: str,
    info_gain_coef: float,
    policy: "PreTrainedModel",
    args: QuickstartArguments,
    tokenizer: "PreTrainedTokenizerFast",
    held_out: "Dataset",
    console: "Console",
) -> "InfoPOTrainer":
    """The trainer of a policy that continues from the warm start, evaluated on held-out users."""
    from transformers import PrinterCallback

    from trl_infopo import InfoPOConfig, InfoPOTrainer

    trainer = InfoPOTrainer(
        model=policy,
        args=InfoPOConfig(
            **_shared_options(args),
            output_dir=str(Path(args.output_dir, title)),
            log_traces=True,
            max_steps=args.steps,
            per_device_train_batch_size=64,
            num_generations=8,
            per_device_eval_batch_size=args.num_held_out,
            num_generations_eval=1,
            max_completion_length=160,
            max_turns=MAX_TURNS,
            learning_rate=5e-4,
            lr_scheduler_type="constant",
            info_gain_coef=info_gain_coef,
            # Gains are scaled, not centred: with "group", a question that brings less than the average is worth
            # less than no question, and a young policy that finds few good ones can unlearn to ask at all
            info_gain_normalization="group_scale",
            # Instead of "No information found.": an answer that says nothing and that the policy has seen before
            masked_feedback=NEUTRAL,
        ),
        train_dataset=booking_dataset("train", 8 * args.steps, args.seed),
        eval_dataset=held_out,
        processing_class=tokenizer,
        environment_factory=BookingEnv,
        callbacks=[
            _make_progress_callback(
                title,
                {"success": "reward", "gain": "infopo/information_gain/mean", "tied": "infopo/tied_groups"},
                console,
            )
        ],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _save(
    args: QuickstartArguments,
    policy: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    success: dict[str, float],
    seconds: dict[str, float],
) -> None:
    policy.save_pretrained(args.output_dir)
    tokenizer.save_pretrained(args.output_dir)
    results = {**asdict(args), "success": success, "seconds": seconds}
    (Path(args.output_dir) / "results.json").write_text(json.dumps(results, indent=2) + "\n")


def _print_conversations(
    console: "Console",
    warm_start: "PreTrainedModel",
    policy: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    held_out: "Dataset",
) -> None:
    """Print the conversations of both policies with the same user, with the gain of each turn."""
    # The first held-out user that the warm start, decoded greedily, fails; or the first, if it fails none
    user = next((row for row in held_out if play(warm_start, tokenizer, row)[1] == 0), held_out[0])
    wishes = " ".join(value for value in user["goal"].values() if value)
    console.print(f'\nuser: "{user["prompt"][0]["content"]}" (hidden goal: {wishes})')
    for title, model in (("before", warm_start), ("after", policy)):
        messages, reward = play(model, tokenizer, user)
        console.print(f"\n{title}, reward {reward:.0f}")
        console.print(_make_conversation_table(messages, score_conversation(model, tokenizer, messages)))


def _make_conversation_table(messages: list[dict], information_gain: list[float]) -> "Table":
    from rich.table import Table

    gains = iter(information_gain)
    table = Table("agent", "user", "information gain", min_width=80)
    for message, following in zip(messages, [*messages[1:], None], strict=True):
        if message["role"] != "assistant":
            continue
        calls = [call["function"] for call in message.get("tool_calls", [])]
        action = [f"{call['name']}({', '.join(call['arguments'].values())})" for call in calls]
        gain = next(gains)
        bar = "" if math.isnan(gain) else f"{gain:5.2f} {'█' * round(6 * gain)}"
        table.add_row(" ".join(filter(None, [message["content"], *action])), following and following["content"], bar)
    return table


def _print_results(
    console: "Console", args: QuickstartArguments, success: dict[str, float], seconds: dict[str, float]
) -> None:
    from rich.table import Table

    table = Table(*success)
    table.add_row(*(f"{value:.3f}" for value in success.values()))
    console.print(f"\nsuccess on {args.num_held_out} held-out users, sampled as in training")
    console.print(table)
    console.print(f"\npolicy and tokenizer: {args.output_dir}")
    runs = shlex.join(str(Path(args.output_dir, title)) for title in seconds)
    console.print(f"what the agent learnt, turn by turn: trl-infopo report {runs}", soft_wrap=True)


if __name__ == "__main__":
    main()
