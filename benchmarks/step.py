# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What a training step costs, InfoPO beside GRPO on the same rollouts, and how scoring grows with the turns.

The steps are those of real trainers, with generation by transformers: `InfoPOTrainer` with `info_gain_coef=0.0`, which
is GRPO to the bit, and with each engine. The policy is random, its actions and the user's replies have fixed lengths,
and the learning rate is 0, so that all of them play the same rollouts, which is checked. A step has four parts:
generation, reward, scoring (all that InfoPO adds) and update (the rest: loss, backward, optimizer).

Then trajectories of equal length and different numbers of turns are scored.

Times on a CPU are CPU time of one thread (`--threads`), which other programs on the machine hardly disturb; on a GPU
they are wall-clock. Peak memory is what a part adds to what was there before it: resident memory, for which Linux is
needed, or allocated memory on a GPU.

    python benchmarks/step.py                    # measure
    python benchmarks/step.py --table            # write the page in the docs from the committed results
"""

import json
import os
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from datasets import Dataset
from meters import Meter, device_name, versions
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, PrinterCallback, TrainerCallback
from trl import TrlParser

from trl_infopo import InfoPOConfig, InfoPOTrainer
from trl_infopo.information_gain import score_information_gain
from trl_infopo.turns import segment_turns


ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs" / "step_speed.md"
CHAT_TEMPLATE = """\
{%- for message in messages %}{{ '<|im_start|>' + message.role + ' ' + message.content + '<|im_end|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant ' }}{% endif %}"""
SCAFFOLD = 5  # tokens of the template around a user's message: its start, role and end, and the generation prompt
PARTS = ["generation", "reward", "scoring", "update"]


@dataclass
class StepBenchmarkArguments:
    """
    Arguments of the benchmark of a training step.
    """

    device: str = field(default="cpu", metadata={"help": "Device to measure on, `cpu` or `cuda`."})
    dtype: str = field(
        default="float32", metadata={"help": "Precision of the model.", "choices": ["float32", "bfloat16"]}
    )
    attn_implementation: str = field(default="sdpa", metadata={"help": "Attention implementation of the model."})
    threads: int = field(
        default=1, metadata={"help": "CPU threads. The CPU time of several includes their waiting for each other."}
    )
    turns: list[int] = field(
        default_factory=lambda: [2, 8, 16],
        metadata={"help": "Numbers of turns of the steps. All turns but the last are scored."},
    )
    engines: list[str] = field(default_factory=lambda: ["tree", "replay"], metadata={"help": "Engines to measure."})
    repeats: int = field(default=2, metadata={"help": "How often everything is measured; the best time counts."})
    num_generations: int = field(default=4, metadata={"help": "Rollouts in a step, one group."})
    prompt_length: int = field(default=128, metadata={"help": "Tokens in the prompt."})
    action_length: int = field(default=32, metadata={"help": "Tokens in an action."})
    observation_length: int = field(default=48, metadata={"help": "Tokens in an observation, at least 6."})
    placeholder_length: int = field(default=16, metadata={"help": "Tokens in a masked observation, at least 6."})
    scaling_turns: list[int] = field(
        default_factory=lambda: [4, 16, 64],
        metadata={"help": "Numbers of turns of the trajectories of equal length; none to leave them out."},
    )
    scaling_tokens: int = field(default=8192, metadata={"help": "Their length in tokens."})
    hidden_size: int = field(default=384, metadata={"help": "Width of the Llama model, a multiple of 192."})
    num_hidden_layers: int = field(default=6, metadata={"help": "Depth of the Llama model."})
    vocab_size: int = field(default=4096, metadata={"help": "Vocabulary of the Llama model."})
    output: str | None = field(
        default=None,
        metadata={"help": "Where to write the results. If `None`, `benchmarks/results/step_<device>.json`."},
    )
    table: bool = field(
        default=False,
        metadata={"help": "Measure nothing, and write `docs/step_speed.md` from the results in place."},
    )


# ------------------------------------------------------------------------------------------------ policy and rollouts


def make_tokenizer(args: StepBenchmarkArguments) -> PreTrainedTokenizerFast:
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


def make_model(args: StepBenchmarkArguments) -> LlamaForCausalLM:
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
    args: StepBenchmarkArguments,
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


def measure_step(args: StepBenchmarkArguments, num_turns: int, way: str, **kwargs) -> tuple[Meter, list[list[int]]]:
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


def run_steps(args: StepBenchmarkArguments) -> list[dict]:
    ways, results = ["grpo", *args.engines], []
    progress = tqdm(total=len(args.turns) * args.repeats * len(ways), unit="step")
    measure_step(args, 2, args.engines[0])  # warm-up
    for num_turns in args.turns:
        meters, rollouts = {way: [] for way in ways}, []
        for _ in range(args.repeats):
            for way in ways:
                progress.set_description(f"{num_turns} turns, {way}")
                meter, completions = measure_step(args, num_turns, way)
                rollouts.append(completions)
                meters[way].append(meter)
                progress.update()
        if any(completions != rollouts[0] for completions in rollouts):
            raise RuntimeError("The trainers played different rollouts, so that their steps cannot be compared.")
        best = {way: min(sum(meter.seconds.values()) for meter in meters[way]) for way in ways}
        results.append(
            {
                "turns": num_turns,
                "tokens": args.prompt_length + max(map(len, rollouts[0])),
                "seconds": {way: round(best[way], 3) for way in ways},
                "ratios": {way: round(best[way] / best["grpo"], 3) for way in ways},
                "parts": {
                    way: {part: round(min(meter.seconds.get(part, 0.0) for meter in meters[way]), 3) for part in PARTS}
                    for way in ways
                },
                "peak_mib": {
                    way: {part: round(max(meter.peak_mib.get(part, 0.0) for meter in meters[way])) for part in PARTS}
                    for way in ways
                },
            }
        )
    progress.close()
    return results


def run_scaling(args: StepBenchmarkArguments) -> list[dict]:
    """Seconds of scoring one trajectory with the `tree` engine."""
    model, generator = make_model(args), torch.Generator().manual_seed(0)

    def random_ids(length: int) -> list[int]:
        return torch.randint(args.vocab_size, (length,), generator=generator).tolist()

    arguments = {}
    for num_turns in args.scaling_turns:
        # Turns of equal length, actions and observations in the proportion of the steps
        share = args.action_length / (args.action_length + args.observation_length)
        length = args.scaling_tokens - args.prompt_length
        actions = torch.linspace(0, length * share, num_turns + 1).round().diff().int().tolist()
        observations = torch.linspace(0, length - sum(actions), num_turns).round().diff().int().tolist()
        action_mask = [1] * actions[0]
        for observation, action in zip(observations, actions[1:], strict=True):
            action_mask += [0] * observation + [1] * action
        arguments[num_turns] = {
            "prompt_ids": [random_ids(args.prompt_length)],
            "completion_ids": [random_ids(len(action_mask))],
            "turns": [segment_turns(action_mask)],
            "masked_observations": [[random_ids(args.placeholder_length)] * num_turns],
            "engine": "tree",
        }
    meters = {num_turns: [] for num_turns in arguments}
    for _ in tqdm(range(args.repeats), desc="scaling"):
        for num_turns, rollout in arguments.items():
            meter = Meter(args.device)
            meter.measured("scoring", score_information_gain)(model, **rollout)
            meters[num_turns].append(meter)
    best = {num_turns: min(meter.seconds["scoring"] for meter in meters[num_turns]) for num_turns in arguments}
    return [
        {
            "turns": num_turns,
            "tokens": args.scaling_tokens,
            "seconds": round(best[num_turns], 3),
            "ratio": round(best[num_turns] / best[args.scaling_turns[0]], 3),
            "peak_mib": round(max(meter.peak_mib["scoring"] for meter in meters[num_turns])),
        }
        for num_turns in arguments
    ]


def run(args: StepBenchmarkArguments) -> dict:
    """Measure everything, and return what goes into the JSON file."""
    torch.set_num_threads(args.threads)
    return {
        "device": device_name(args.device),
        "versions": versions(),
        "settings": {name: value for name, value in asdict(args).items() if name not in ("output", "table")},
        "num_parameters": make_model(args).num_parameters(),
        "steps": run_steps(args),
        "scaling": run_scaling(args) if args.scaling_turns else [],
    }


# ------------------------------------------------------------------------------------------------------------- report


def step_table(report: dict) -> str:
    lines = [
        "| turns | tokens | | seconds | against GRPO | generation | reward | scoring | update | "
        "MiB: scoring | update |",
        "|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for result in report["steps"]:
        for way, seconds in result["seconds"].items():
            parts, peaks = result["parts"][way], result["peak_mib"][way]
            cells = [
                result["turns"],
                result["tokens"],
                "GRPO" if way == "grpo" else f"InfoPO, `{way}`",
                f"{seconds:.2f}",
                f"**{result['ratios'][way]:.2f}×**",
                *(f"{parts[part]:.2f}" for part in PARTS),
                *(peaks[part] for part in ("scoring", "update")),
            ]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def scaling_table(report: dict) -> str:
    lines = ["| turns | tokens | seconds | against the first row | MiB |", "|---:|---:|---:|---:|---:|"]
    for result in report["scaling"]:
        cells = [result["turns"], result["tokens"], f"{result['seconds']:.2f}"]
        cells += [f"**{result['ratio']:.2f}×**", result["peak_mib"]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def markdown_page(reports: list[dict]) -> str:
    sections = [
        "<!-- Written by `python benchmarks/step.py --table`; edit the script instead. -->\n\n"
        "# Speed of a training step\n\n"
        "Steps of real trainers on the same rollouts: GRPO (`info_gain_coef=0.0`) and InfoPO with each engine, with "
        "generation by transformers. Scoring is all that InfoPO adds to a step; update is loss, backward and "
        "optimizer. Peak memory is what a part adds to what was there before it."
    ]
    for report in reports:
        settings = report["settings"]
        unit = f"CPU time of {settings['threads']} thread(s)" if settings["device"] == "cpu" else "wall-clock"
        sections += [f"## {report['device']}", step_table(report)]
        sections.append(
            f"A Llama model of {report['num_parameters'] / 1e6:.0f} M parameters in {settings['dtype']} with "
            f"{settings['attn_implementation']} attention, {settings['num_generations']} rollouts a step; "
            f"{settings['prompt_length']} tokens of prompt, {settings['action_length']} an action, "
            f"{settings['observation_length']} an observation, {settings['placeholder_length']} a masked one. "
            f"Seconds are {unit}, the best of {settings['repeats']} repeats, interleaved. "
            f"{', '.join(f'{name} {version}' for name, version in report['versions'].items())}."
        )
        if report["scaling"]:
            sections += [
                "Scoring one trajectory with `tree`, at the same number of tokens and the same share of actions in "
                "them:",
                scaling_table(report),
            ]
    return "\n\n".join(sections) + "\n"


def main() -> None:
    [args] = TrlParser(StepBenchmarkArguments).parse_args_and_config()
    if args.table:
        DOCS.write_text(markdown_page([json.loads(path.read_text()) for path in sorted(RESULTS.glob("step_*.json"))]))
        print(f"Written to {os.path.relpath(DOCS)}")
        return
    report = run(args)
    output = Path(args.output or RESULTS / f"step_{args.device.split(':')[0]}.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"{step_table(report)}\n\n{scaling_table(report)}\n\nWritten to {os.path.relpath(output)}")


if __name__ == "__main__":
    main()
