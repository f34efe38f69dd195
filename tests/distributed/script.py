# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Runs `trl_infopo.scripts.train`, then writes what accelerate made of it. Started by test_two_processes.py."""

import json
import runpy
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parents[1]))

import conftest  # noqa: F401


facts_dir, *sys.argv[1:] = sys.argv[1:]
if "--fsdp_on_cpu" in sys.argv:
    sys.argv.remove("--fsdp_on_cpu")
    import fsdp_on_cpu

    fsdp_on_cpu.install()

runpy.run_module("trl_infopo.scripts.train", run_name="__main__", alter_sys=True)

from accelerate.state import AcceleratorState  # noqa: E402


state = AcceleratorState()
facts = {
    "distributed_type": state.distributed_type.value,
    "num_processes": state.num_processes,
    "mixed_precision": state.mixed_precision,
    "zero_stage": state.deepspeed_plugin.zero_stage if state.deepspeed_plugin is not None else None,
}
(Path(facts_dir) / f"{state.process_index}.json").write_text(json.dumps(facts))
