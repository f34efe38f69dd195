# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Writes traces on two processes, one of which may be killed while it does. Started by test_traces_of_processes.py."""

import os
import signal
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parents[1]))

import conftest  # noqa: F401
from trainer_helpers import make_trainer


OPTIONS = {
    "log_traces": True,
    "max_traces_per_step": 8,
    "num_generations": 8,
    "per_device_train_batch_size": 4,  # a group lies on both processes
    "max_steps": 4,
    "save_strategy": "steps",
    "save_steps": 1,
    "ddp_find_unused_parameters": False,
}


def main(output_dir: str, killed_at: int, resume: bool) -> None:
    trainer = make_trainer(output_dir, "rollout_func", options=OPTIONS)
    replace = os.replace

    def die(source, target):
        if trainer.state.global_step == killed_at and trainer.args.process_index == 1 and "traces" in str(target):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = die
    trainer.train(resume_from_checkpoint=resume or None)
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "resume")
