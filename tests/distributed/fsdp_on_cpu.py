# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Lets accelerate run FSDP2 without an accelerator. For the tests only; call `install` before anything else."""

import os


def install() -> None:
    """
    accelerate turns only MULTI_GPU and its kind into FSDP, and never reports it on a CPU. So report it, with gloo, and
    pin the device, so that nobody asks CUDA for one.
    """
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    from accelerate.state import DistributedType, PartialState

    def prepare_backend(self, cpu=False, sagemaker_dp=False, backend=None):
        if "LOCAL_RANK" in os.environ:
            return "gloo", DistributedType.MULTI_GPU
        return None, DistributedType.NO

    PartialState._prepare_backend = prepare_backend
