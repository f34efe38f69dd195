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
