# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Conversations of unequal length on the processes, or with a user who dies. Started by test_two_processes.py."""

import argparse
import json
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parents[1]))

import conftest  # noqa: F401


parser = argparse.ArgumentParser()
parser.add_argument("--output_dir", type=Path)
parser.add_argument("--processes", type=int)
parser.add_argument("--num_replies", type=int, nargs="+", help="of the users on each process; below 0, they fail")
parser.add_argument("--fsdp_on_cpu", action="store_true", help="let accelerate shard without an accelerator")
parser.add_argument("--in_tool", action="store_true", help="the user is asked by a tool, in TRL's own loop")
parser.add_argument("--min_ready_fraction", type=float, default=1.0)
parser.add_argument("--failing", default="reply", help="method that fails: reset, reply, opening, on_end...")
args = parser.parse_args()
if args.fsdp_on_cpu:
    import fsdp_on_cpu

    fsdp_on_cpu.install()

from test_conversations import Replies, TalkEnvironment, make_trainer  # noqa: E402
from tiny_agents import AskEnvironment  # noqa: E402

from trl_infopo.users import UserSimulatorError  # noqa: E402


def is_to_fail() -> bool:
    return args.num_replies[trainer.accelerator.process_index] < 0 and trainer.state.global_step == 1


class UnequalEnvironment(TalkEnvironment):
    def reset(self, **row):
        num_replies = args.num_replies[trainer.accelerator.process_index]
        self.user = Replies(["yes"] * abs(num_replies))
        self.failing = args.failing if is_to_fail() else None
        if self.failing == "reset":
            raise KeyError("no task")
        if self.failing in ("reply", "opening"):
            setattr(self.user, self.failing, self._fail)

    async def _fail(self, messages):
        raise UserSimulatorError("no line after 3 attempts")

    async def on_end(self, reason):
        if self.failing == "on_end":
            raise KeyError("no end")
        return "own" if trainer.accelerator.process_index == 1 else None

    async def get_reward(self):
        if self.failing == "get_reward":
            raise KeyError("no judge")
        return super().get_reward()


class AskingEnvironment(AskEnvironment):
    def reset(self, **row):
        if is_to_fail() and args.failing == "reset":
            raise KeyError("no task")
        return super().reset(**row)

    def ask(self, slot: str) -> str:
        """
        Ask the user.

        Args:
            slot: What to ask for.
        """
        if is_to_fail():
            raise UserSimulatorError("no line after 3 attempts")
        return super().ask(slot)


options = {
    "max_turns": 9,
    "max_completion_length": 200,
    "per_device_train_batch_size": 4,
    "min_ready_fraction": args.min_ready_fraction,
    "use_cpu": not args.fsdp_on_cpu,
}
trainer = make_trainer(args.output_dir, AskingEnvironment if args.in_tool else UnequalEnvironment, options=options)
assert trainer.accelerator.num_processes == args.processes
seen = {"rounds": 0, "error": None, "wrapper": None}
agree = trainer._agree


def count(is_active, error):
    seen["rounds"] += 1
    return agree(is_active, error)


trainer._agree = count
try:
    trainer.train()
except (RuntimeError, KeyError) as error:
    seen["error"] = str(error)
seen["wrapper"] = type(trainer.model_wrapped).__name__
seen["logs"] = [log for log in trainer.state.log_history if "infopo/stop/answered" in log]
(args.output_dir / f"{trainer.accelerator.process_index}.json").write_text(json.dumps(seen))
trainer.accelerator.wait_for_everyone()
trainer.accelerator.end_training()
