# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Trains with a server of OpenEnv, which may fail in an episode of one process, and writes what each process saw."""

import json
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parents[1]))

from scripted_agents import make_scripted_trainer
from tiny_agents import tool_call

from trl_infopo.adapters.openenv import OpenEnvSpec


output_dir, url, fault = Path(sys.argv[1]), sys.argv[2], sys.argv[3]


def script(rollout: int, action: int) -> str:
    if action == 2:
        return "done"
    fails = fault == "fails" and action == 1 and trainer.accelerator.process_index == 1
    return tool_call("act", word="crash" if fails else "wrong")


trainer = make_scripted_trainer(
    output_dir, OpenEnvSpec(url, mode="action"), rows=4, per_device_train_batch_size=2, max_completion_length=400
)
trainer.script = script
seen = {"processes": trainer.accelerator.num_processes}
try:
    trainer.train()
    seen["steps"] = trainer.state.global_step
except RuntimeError as error:
    seen["error"] = str(error)
(output_dir / f"{trainer.accelerator.process_index}.json").write_text(json.dumps(seen))
trainer.accelerator.wait_for_everyone()
trainer.accelerator.end_training()
