# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The steps that benchmarks measure: real trainers, one policy, and rollouts that are the same for all of them."""

from dataclasses import dataclass, field
from functools import partial
from tempfile import TemporaryDirectory

import torch
from datasets import Dataset
from meters import Meter
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, PrinterCallback, TrainerCallback

from trl_infopo import InfoPOConfig, InfoPOTrainer


CHAT_TEMPLATE = """\
{%- for message in messages %}{{ '<|im_start|>' + message.role + ' ' + message.content + '<|im_end|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant ' }}{% endif %}"""
SCAFFOLD = 5  # tokens of the template around a user's message: its start, role and end, and the generation prompt


@dataclass
class StepArguments:
    """
    Arguments of the benchmarks that measure steps.
    """

    device: str = field(default="cpu", metadata={"help": "Device to measure on, `cpu` or `cuda`."})
    dtype: str = field(
        default="float32", metadata={"help": "Precision of the model.", "choices": ["float32", "bfloat16"]}
    )
    attn_implementation: str = field(default="sdpa", metadata={"help": "Attention implementation of the model."})
    threads: int = field(
        default=1, metadata={"help": "CPU threads. The CPU time of several includes their waiting for each other."}
    )
    repeats: int = field(default=2, metadata={"help": "How often everything is measured; the best time counts."})
    num_generations: int = field(default=4, metadata={"help": "Rollouts in a step, one group."})
    prompt_length: int = field(default=128, metadata={"help": "Tokens in the prompt."})
    action_length: int = field(default=32, metadata={"help": "Tokens in an action."})
    observation_length: int = field(default=48, metadata={"help": "Tokens in an observation, at least 6."})
    placeholder_length: int = field(default=16, metadata={"help": "Tokens in a masked observation, at least 6."})
    hidden_size: int = field(default=384, metadata={"help": "Width of the Llama model, a multiple of 192."})
    num_hidden_layers: int = field(default=6, metadata={"help": "Depth of the Llama model."})
    vocab_size: int = field(default=4096, metadata={"help": "Vocabulary of the Llama model."})
    output: str | None = field(
        default=None,
        metadata={"help": "Where to write the results. If `None`, `benchmarks/results/<benchmark>_<device>.json`."},
    )


def make_tokenizer(args: StepArguments) -> PreTrainedTokenizerFast:
    """Every token is a word."""
    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    names = ["user", "assistant"]
    words = [*special, *names, *(f"w{i}" for i in range(args.vocab_size - 5))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), behavior="removed")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        additional_special_tokens=special,
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
    )


def make_model(args: StepArguments) -> LlamaForCausalLM:
    """A random Llama model with heads of 64 values, a key-value head for three of them, and tied embeddings."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=args.vocab_size,
        hidden_size=args.hidden_size,
        intermediate_size=args.hidden_size * 8 // 3,
        num_hidden_layers=args.num_hidden_layers,
        num_attention_heads=args.hidden_size // 64,
        num_key_value_heads=args.hidden_size // 192,
        max_position_embeddings=65536,
        tie_word_embeddings=True,
        bos_token_id=None,
        pad_token_id=0,
        eos_token_id=2,
        attn_implementation=args.attn_implementation,
    )
    return LlamaForCausalLM(config).to(args.device, getattr(torch, args.dtype)).eval()


def words(length: int, first: int) -> str:
    return " ".join(f"w{first + i}" for i in range(length))


class Talker:
    """A user whose replies have one length, and never repeat."""

    def __init__(self, length: int):
        self.length, self.num_replies, self.num_heard = length, 0, 0

    def reply(self, messages: list[dict]) -> str:
        self.num_replies += 1
        self.num_heard += len(messages[-1]["content"])
        return words(self.length, 31 * self.num_replies)


class TalkEnvironment:
    """
    Whatever the agent says, the user answers.

    **Observation**: the user's reply. **Tools**: none. **Reward**: some number that differs between rollouts, or 0 for
    all where the row says that they tie. **End**: by the number of turns.
    """

    user: Talker

    def __init__(self, observation_length: int, placeholder_length: int):
        self._length = observation_length - SCAFFOLD
        self.masked_feedback = words(placeholder_length - SCAFFOLD, 0)

    def reset(self, ties: bool, **row) -> None:
        self.user, self._ties = Talker(self._length), ties

    def get_reward(self) -> float:
        return 0.0 if self._ties else float(self.user.num_heard % 7)


def make_trainer(
    args: StepArguments,
    num_turns: int,
    way: str,
    output_dir: str,
    ties: tuple[bool, ...] = (False,),
    **options,
) -> InfoPOTrainer:
    """A trainer that steps over as many groups as `ties` has entries, which say whether the rewards of each tie."""
    tokenizer = make_tokenizer(args)
    action_length, on_gpu = args.action_length, args.device.startswith("cuda")
    config = InfoPOConfig(
        output_dir,
        info_gain_coef=0.0 if way == "grpo" else 0.5,
        info_gain_engine="auto" if way == "grpo" else way,
        max_turns=num_turns,
        per_device_train_batch_size=args.num_generations * len(ties),
        num_generations=args.num_generations,
        max_completion_length=num_turns * (action_length + args.observation_length),
        generation_kwargs={
            "min_new_tokens": action_length - 1,
            "max_new_tokens": action_length,
            "forced_eos_token_id": tokenizer.eos_token_id,
        },
        learning_rate=0.0,
        max_steps=1,
        shuffle_dataset=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not on_gpu,
        bf16=args.dtype == "bfloat16",
        **{"logging_strategy": "no", **options},
    )
    prompt = [{"role": "user", "content": words(args.prompt_length - SCAFFOLD, 0)}]
    return InfoPOTrainer(
        make_model(args),
        args=config,
        train_dataset=Dataset.from_list([{"prompt": prompt, "ties": tie} for tie in ties]),
        processing_class=tokenizer,
        environment_factory=partial(TalkEnvironment, args.observation_length, args.placeholder_length),
    )


# --------------------------------------------------------------------------------------------------------- measuring


class StepCallback(TrainerCallback):
    """Measures the update: from the end of the scoring to the end of the step, and whatever no other part takes."""

    def __init__(self, meter: Meter):
        self.meter, self.step_start, self.update_start = meter, None, None

    def on_step_end(self, args, state, control, **kwargs):
        self.meter.stop("update", self.update_start)
        others = sum(seconds for part, seconds in self.meter.seconds.items() if part != "update")
        self.meter.seconds["update"] = self.meter.now() - self.step_start - others


def measure_step(args: StepArguments, num_turns: int, way: str, **kwargs) -> tuple[Meter, list[list[int]]]:
    """One step: its parts, and the tokens of its completions."""
    meter = Meter(args.device)
    callback, completions = StepCallback(meter), []
    with TemporaryDirectory() as output_dir:
        trainer = make_trainer(args, num_turns, way, output_dir, **kwargs)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(callback)
        trainer._generate = meter.measured("generation", trainer._generate)
        trainer._calculate_rewards = meter.measured("reward", trainer._calculate_rewards)
        for name in ("_mask_observations", "_leave_out", "_score", "_fuse"):
            setattr(trainer, name, meter.measured("scoring", getattr(trainer, name)))
        generate_and_score = trainer._generate_and_score_completions

        def before_the_update(inputs):
            callback.step_start = meter.now()
            output = generate_and_score(inputs)
            completions.extend(output["completion_ids"].tolist())
            callback.update_start = meter.start()
            return output

        trainer._generate_and_score_completions = before_the_update
        trainer.train()
    return meter, completions
