# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Trains on scripted rollouts; every process writes what it saw. Started by test_two_processes.py."""

import argparse
import json
import sys
from pathlib import Path

import torch


sys.path.insert(0, str(Path(__file__).parents[1]))

import conftest  # noqa: F401
import maskless_attention  # noqa: F401
from scripted_rollouts import ScriptedRollouts


parser = argparse.ArgumentParser()
parser.add_argument("--output_dir", type=Path)
parser.add_argument("--processes", type=int)
parser.add_argument("--model", help="directory of the model")
parser.add_argument("--fsdp_on_cpu", action="store_true", help="let accelerate shard without an accelerator")
parser.add_argument(
    "--runs",
    type=json.loads,
    help="as JSON, one after another: `questions` of the rollouts in the first and in the second half, and optionally "
    "`lora`, `resume` from the checkpoint before the last step, and `options` of InfoPOConfig",
)
args = parser.parse_args()
if args.fsdp_on_cpu:
    import fsdp_on_cpu

    fsdp_on_cpu.install()

from peft import LoraConfig  # noqa: E402
from trainer_helpers import dataset, make_trainer  # noqa: E402

from trl_infopo.causal_lm import CausalLM  # noqa: E402


class Rollouts(ScriptedRollouts):
    """The same rollouts at the same step, in a run that was resumed too, however often it was evaluated."""

    def __call__(self, prompts, trainer):
        self.step = trainer.state.global_step
        return super().__call__(prompts, trainer)


def make(run: dict, output_dir: Path):
    options = {
        "max_completion_length": 300,
        "max_steps": 2,
        "info_gain_batch_size": 2,
        "shuffle_dataset": False,
        "adam_epsilon": 0.01,  # a small one would blow up the rounding of gradients near 0
        "learning_rate": 0.01,
        "lr_scheduler_type": "constant",
        "per_device_eval_batch_size": 8 // args.processes,
        "use_cpu": not args.fsdp_on_cpu,
        **run.get("options", {}),
    }
    # Eight rollouts a step, in all processes and accumulated batches together
    num_batches = args.processes * options.get("gradient_accumulation_steps", 1)
    lora = LoraConfig(r=4, lora_alpha=32, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    torch.manual_seed(0)  # for the adapter
    return make_trainer(
        output_dir,
        "rollout_func",
        model=args.model,
        rollout_func=Rollouts(lambda i: run["questions"][i // 4]),
        train_dataset=dataset().select(range(5)),  # two prompts a step: the fifth is left over
        eval_dataset=dataset().select(range(5)),  # two prompts a batch: the last one is incomplete
        peft_config=lora if run.get("lora") else None,
        options={"per_device_train_batch_size": 8 // num_batches, **options},
    )


def full_parameters(trainer) -> dict[str, torch.Tensor]:
    """All of them on every process, wherever they are sharded."""
    parameters = dict(trainer.accelerator.unwrap_model(trainer.model_wrapped).named_parameters())
    with trainer._dist.gather_params(list(parameters.values())):
        return {
            name: (parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter).detach().clone()
            for name, parameter in parameters.items()
        }


def shard_size(trainer) -> int:
    """How many numbers of the model's parameters this process holds between two steps."""
    parameters = list(trainer.model.parameters())
    if trainer._dist.is_zero3:
        return sum(parameter.ds_tensor.numel() for parameter in parameters)
    return sum((p.to_local() if hasattr(p, "to_local") else p).numel() for p in parameters)


def watch(trainer) -> dict:
    """What the trainer does, from now on."""
    seen = {"advantages": [], "forwards": 0, "steps": []}
    prepare = trainer._generate_and_score_completions

    def keep(inputs):
        output = prepare(inputs)
        advantages = output["advantages"]
        if advantages.dim() == 1:
            advantages = advantages[:, None].expand_as(output["completion_ids"])
        if trainer.model.training:
            mask = (output["tool_mask"] * output["completion_mask"]).bool()
            seen["advantages"].append([row[m] for row, m in zip(advantages, mask)])
            seen["steps"].append(trainer.state.global_step)
        return output

    def count(module, args, output):
        if not torch.is_grad_enabled():
            seen["forwards"] += 1

    trainer._generate_and_score_completions = keep
    CausalLM(trainer.model).backbone.register_forward_hook(count)
    return seen


results = []
for i, run in enumerate(args.runs):
    output_dir = args.output_dir / f"run-{i}"
    trainer = make(run, output_dir)
    assert trainer.accelerator.num_processes == args.processes
    if args.processes > 1:
        assert torch.distributed.get_world_size() == args.processes
    seen = watch(trainer)
    trainer.train()
    seen |= {
        "parameters": full_parameters(trainer),
        "shard_size": shard_size(trainer),
        "distributed_type": trainer.accelerator.distributed_type.value,
        "wrapper": type(trainer.model_wrapped).__name__,
        "optimizer": type(getattr(trainer.model_wrapped, "optimizer", None)).__name__,
        "engine": trainer.info_gain_engine,
        "logs": trainer.state.log_history,
    }
    if run.get("resume"):
        checkpoint = output_dir / f"checkpoint-{trainer.state.max_steps - 1}"
        trainer = make(run, output_dir / "resumed")
        resumed = watch(trainer)
        trainer.train(resume_from_checkpoint=str(checkpoint))
        seen["resumed"] = {**resumed, "parameters": full_parameters(trainer)}
    results.append(seen)
torch.save(results, args.output_dir / f"{trainer.accelerator.process_index}.pt")
# Without this, a thread of gloo's that is still alive at exit now and then aborts the process
trainer.accelerator.wait_for_everyone()
trainer.accelerator.end_training()
