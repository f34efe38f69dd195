# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Several processes use rollouts twice; the run is resumed between the two, past damaged checkpoints."""

import json
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parents[1]))

import conftest  # noqa: F401
import torch
from test_checkpoints import run


OPTIONS = {"num_iterations": 2, "per_device_train_batch_size": 4, "ddp_find_unused_parameters": False}


def main(output_dir: Path) -> None:
    whole = run(output_dir, mode="plain", **OPTIONS)
    parameters = [parameter.detach().clone() for parameter in whole.model.parameters()]
    whole.accelerator.wait_for_everyone()
    if whole.accelerator.is_main_process:
        (output_dir / "checkpoint-4" / "rng_state_1.pth").unlink()
        (output_dir / "checkpoint-3" / "trainer_state.json").unlink()
        (output_dir / "checkpoint-2" / "optimizer.pt").unlink()
    whole.accelerator.wait_for_everyone()
    resumed = run(output_dir, resume=True, mode="plain", **OPTIONS)
    seen = {
        "num_processes": resumed.accelerator.num_processes,
        "resumed_steps": [log["step"] for log in resumed.state.log_history if "loss" in log],
        "rollouts": (output_dir / "checkpoint-1" / f"rollouts_{resumed.accelerator.process_index}.pt").exists(),
        "is_equal": all(map(torch.equal, parameters, resumed.model.parameters())),
    }
    (output_dir / f"{resumed.accelerator.process_index}.json").write_text(json.dumps(seen))
    resumed.accelerator.wait_for_everyone()
    resumed.accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
