# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Trains with agents that own their loop, in several processes, and writes down what each of them saw."""

import asyncio
import json
import sys
from pathlib import Path

from accelerate import PartialState


sys.path.insert(0, str(Path(__file__).parents[1]))

from harnesses import play
from test_serving import make_trainer

from trl_infopo.serving import HarnessRollouts


output_dir, fault = Path(sys.argv[1]), sys.argv[2]


async def uneven_play(row, session):
    """Processes whose episodes are not equally long, one of which may fail."""
    is_second = PartialState().process_index == 1
    if is_second and fault == "fails":
        raise OSError("the sandbox is gone")
    if is_second:
        await asyncio.sleep(0.5)
    return await play(row, session)


trainer = make_trainer(output_dir, HarnessRollouts(uneven_play, max_retries=0), per_device_train_batch_size=2)
seen = {"processes": trainer.accelerator.num_processes}
try:
    trainer.train()
    seen["gain"] = trainer.state.log_history[0]["infopo/information_gain/mean"]
    seen["weights"] = sum(parameter.sum().item() for parameter in trainer.model.parameters())
except RuntimeError as error:
    seen["error"] = str(error)
(output_dir / f"{PartialState().process_index}.json").write_text(json.dumps(seen))
