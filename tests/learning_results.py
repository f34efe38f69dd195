# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Results of the learning benchmark that nobody had to compute."""

import json
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.learning.results import result_path, write_atomically
from benchmarks.learning.settings import Sizes, run_settings


TINY = Sizes(
    warm_start_steps=3, num_demonstrations=64, steps=2, eval_steps=1, num_prompts=2, num_generations=2, num_held_out=4
)


def result(regime="booking", arm="group", seed=0, sizes=TINY, successes=(0.0, 0.5, 1.0), asked=3.0):
    return {
        "settings": run_settings(regime, arm, seed, sizes),
        "versions": {"trl": "1"},
        "seconds": {"wall": 2.0, "cpu": 1.0},
        "curve": [
            {
                "step": step,
                "success": success,
                "reward": success,
                "questions": {"useful": asked, "useless": 0.0, "repeated": 0.0},
                "gains": {},
                "stop": {"answered": 1.0},
                "training": {},
            }
            for step, success in enumerate(successes)
        ],
    }


def write(directory, **options):
    content = result(**options)
    settings = content["settings"]
    path = result_path(settings["regime"], settings["arm"], settings["seed"], directory)
    write_atomically(path, json.dumps(content))
    return path
