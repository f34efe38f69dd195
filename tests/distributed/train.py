# Copyright 2026 The trl-infopo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Two steps on scripted rollouts; every process writes what it saw. Started by test_two_processes.py."""

import argparse
import sys
from pathlib import Path

import torch


sys.path.insert(0, str(Path(__file__).parents[1]))

import conftest  # noqa: F401
from scripted_rollouts import ScriptedRollouts
from test_infopo_trainer import make_trainer


parser = argparse.ArgumentParser()
parser.add_argument("--output_dir", type=Path)
parser.add_argument("--processes", type=int)
parser.add_argument("--engine")
parser.add_argument("--estimator")
parser.add_argument("--questions", type=int, nargs=2, help="of the rollouts in the first and in the second half")
args = parser.parse_args()

trainer = make_trainer(
    args.output_dir,
    "rollout_func",
    rollout_func=ScriptedRollouts(lambda i: args.questions[i // 4]),
    options={
        "per_device_train_batch_size": 8 // args.processes,
        "max_completion_length": 300,
        "max_steps": 2,
        "info_gain_engine": args.engine,
        "info_gain_estimator": args.estimator,
        "info_gain_batch_size": 2,
        "shuffle_dataset": False,
        "optim": "sgd",  # Adam would blow up the rounding of gradients near 0
        "learning_rate": 0.1,
    },
)
assert trainer.accelerator.num_processes == args.processes
if args.processes > 1:
    assert trainer.accelerator.distributed_type.value == "MULTI_CPU"
    assert torch.distributed.get_world_size() == args.processes

seen = {"advantages": [], "forwards": 0}
prepare = trainer._generate_and_score_completions


def keep(inputs):
    output = prepare(inputs)
    advantages = output["advantages"]
    if advantages.dim() == 1:
        advantages = advantages[:, None].expand_as(output["completion_ids"])
    seen["advantages"].append(
        [a[m.bool()] for a, m in zip(advantages, output["tool_mask"] * output["completion_mask"])]
    )
    return output


def count(module, args, output):
    if not torch.is_grad_enabled():
        seen["forwards"] += 1


trainer._generate_and_score_completions = keep
trainer.model.model.register_forward_hook(count)
trainer.train()
seen["parameters"] = [parameter.detach() for parameter in trainer.model.parameters()]
seen["wrapper"] = type(trainer.model_wrapped).__name__
seen["metrics"] = [log for log in trainer.state.log_history if "infopo/scale" in log]
torch.save(seen, args.output_dir / f"{trainer.accelerator.process_index}.pt")
# Without this, a thread of gloo's that is still alive at exit now and then aborts the process
trainer.accelerator.wait_for_everyone()
trainer.accelerator.end_training()
