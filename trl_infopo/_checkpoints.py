# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that are known to be complete, keep rollouts that are used again, and name their base model."""

import json
import re
import zipfile
from pathlib import Path

import torch
from accelerate.logging import get_logger
from accelerate.utils import broadcast_object_list, send_to_device
from safetensors import SafetensorError, safe_open
from transformers import TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR


logger = get_logger(__name__)

STATE = "trainer_state.json"  # the last file that transformers writes
MANIFEST = "checkpoint_files.json"  # the last one that we write
SENTINEL = "checkpoint-is-incomplete.txt"  # left by transformers' `enable_jit_checkpoint` until it is done


class WholeCheckpoints:
    """
    Mixin for a [`~trl.GRPOTrainer`] that resumes only from checkpoints that were written completely.

    It overrides:

    - `train`, to find the newest complete checkpoint, or to refuse a given one that is incomplete;
    - `training_step`, to know where a step of the optimizer began that a checkpoint interrupts;
    - `_get_train_sampler`, to continue the order of the rows: TRL's would repeat that of the first epoch;
    - `_save_checkpoint`, to list the files of a checkpoint when all of them are written;
    - `_save_rng_state` and `_load_rng_state`, to save rollouts that are used again, each process its own, and to let
      every process finish before old checkpoints are deleted;
    - `create_model_card`, to describe a model that does not come from the Hub correctly.
    """

    _finished_epochs = 0  # before the checkpoint that is resumed from
    _begun = (None, 0)  # a step of the optimizer, and the forward and backward passes before it

    def train(self, resume_from_checkpoint=None, *args, **kwargs):
        self._finished_epochs = 0
        # An earlier call may have been interrupted
        self._step, self._buffered_inputs, self._begun = 0, None, (None, 0)
        if resume_from_checkpoint in ("True", "true"):  # from a command line
            resume_from_checkpoint = True
        if resume_from_checkpoint:
            found = [None, None]
            if self.is_world_process_zero():  # another node may not see all files
                try:
                    found[0] = find_checkpoint(resume_from_checkpoint, self.args.output_dir)
                except Exception as error:  # the other processes wait for what was found
                    found[1] = str(error)
            resume_from_checkpoint, error = broadcast_object_list(found)
            if error is not None:
                raise ValueError(error)
            state = TrainerState.load_from_json(str(Path(resume_from_checkpoint, STATE)))
            self._finished_epochs = int((state.epoch or 0) + 1e-6)  # it may fall just short of the end of an epoch
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def training_step(self, *args, **kwargs):
        if self._begun[0] != self.state.global_step:
            self._begun = self.state.global_step, self._step
        return super().training_step(*args, **kwargs)

    def _get_train_sampler(self, dataset=None):
        sampler = super()._get_train_sampler(dataset)
        if sampler.shuffle:
            for _ in range(self._finished_epochs):
                torch.randperm(sampler.num_samples, generator=sampler.generator)
        return sampler

    def _save_checkpoint(self, model, trial):
        checkpoint = Path(self._get_output_dir(trial=trial), f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")
        if self.args.should_save:  # an older one of the same step is not complete while it is overwritten
            for name in (MANIFEST, STATE):
                (checkpoint / name).unlink(missing_ok=True)
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            write_manifest(checkpoint)

    def _save_rng_state(self, output_dir):
        super()._save_rng_state(output_dir)
        rollouts = Path(output_dir, f"rollouts_{self.args.process_index}.pt")
        # `enable_jit_checkpoint` saves within a step, which a resumed training begins again
        step = self._begun[1] if self._begun[0] == self.state.global_step else self._step
        is_between = step % self._generate_every != 0
        samples_anew = (self._step - 1) // self._generate_every != (step - 1) // self._generate_every
        if (is_between and not samples_anew) or (self._seems_between and not is_between):
            saved = {
                "layout": self._rollout_layout,
                "global_step": self.state.global_step,
                "step": step,
                "rollouts": self._buffered_inputs if is_between else None,
            }
            torch.save(saved, rollouts)
        else:
            rollouts.unlink(missing_ok=True)
        # What process 0 does next is to write the trainer's state and to delete old checkpoints
        self.accelerator.wait_for_everyone()

    def _load_rng_state(self, checkpoint):
        super()._load_rng_state(checkpoint)
        if self.args.ignore_data_skip:  # the data begins anew, and so do the rollouts
            return
        rollouts, saved = Path(checkpoint, f"rollouts_{self.args.process_index}.pt"), None
        if rollouts.is_file():
            saved = torch.load(rollouts, map_location="cpu", weights_only=True)
        # A copy on the Hub may keep the file of an earlier checkpoint
        if saved is not None and saved.get("global_step") == self.state.global_step:
            if saved["rollouts"] is None:
                return
            if saved["layout"] == self._rollout_layout:
                self._step = saved["step"]
                self._buffered_inputs = send_to_device(saved["rollouts"], self.accelerator.device)
                return
            changes = "; ".join(
                f"{name} was {saved['layout'].get(name)} and is {value}"
                for name, value in self._rollout_layout.items()
                if value != saved["layout"].get(name)
            )
            reason = f"are of another layout ({changes})"
        elif self._seems_between:
            reason = "are not in it"
        else:
            return
        logger.warning(
            f"{str(checkpoint)!r} was saved between two uses of the same rollouts, which {reason}. New ones are "
            "sampled in their place, and the training will not end with the weights of one that was not interrupted. "
            "To go on exactly, resume with the options that it was saved with, or set `save_steps` to a multiple of "
            "`steps_per_generation * num_iterations / gradient_accumulation_steps` = "
            f"{self._generate_every / self.args.gradient_accumulation_steps:g}."
        )

    @property
    def _generate_every(self) -> int:
        """Number of forward and backward passes from one sampling of rollouts to the next."""
        return self.args.steps_per_generation * self.num_iterations

    @property
    def _seems_between(self) -> bool:
        """Whether the step falls between two uses of the same rollouts, unless an epoch ended with a shorter one."""
        return self.state.global_step * self.args.gradient_accumulation_steps % self._generate_every != 0

    @property
    def _rollout_layout(self) -> dict[str, int | bool]:
        """What rollouts must agree in: their number, and which log-probabilities come with them."""
        names = (
            "world_size",
            "per_device_train_batch_size",
            "gradient_accumulation_steps",
            "steps_per_generation",
            "num_iterations",
        )
        return {name: getattr(self.args, name) for name in names} | {
            "beta above 0": self.beta != 0,
            "vllm_importance_sampling_correction": self.use_vllm and self.args.vllm_importance_sampling_correction,
        }

    def create_model_card(self, model_name=None, *args, **kwargs):
        super().create_model_card(model_name or Path(self.args.output_dir).name, *args, **kwargs)
        if not self.is_world_process_zero():
            return
        # TRL leaves out the base model where it is a directory, and fills its template with what is left
        base = Path(self.model.config.name_or_path).name
        base = f"`{base}`, a local model" if base else "a model that was made in memory"
        card = Path(self.args.output_dir, "README.md")
        text = card.read_text(encoding="utf-8").replace("[None](https://huggingface.co/None)", base)
        text = text.replace('model="None"', f'model="{Path(self.args.output_dir).name}"')
        card.write_text(text, encoding="utf-8")


def find_checkpoint(resume_from_checkpoint: str | bool, output_dir: str) -> str:
    """
    The checkpoint to resume from.

    Args:
        resume_from_checkpoint (`str` or `bool`):
            A checkpoint, or `True` for the newest complete one of `output_dir`.
        output_dir (`str`):
            Where checkpoints are saved.

    Returns:
        `str`: Its directory.

    Raises:
        `ValueError`: If the checkpoint is incomplete, or none is complete. It says what is missing.
    """
    if resume_from_checkpoint is not True:
        output_dir = Path(resume_from_checkpoint).parent
    candidates = [path for path in Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.is_dir()]
    candidates = [path for path in candidates if re.fullmatch(r".*-\d+", path.name)]
    candidates.sort(key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)

    if resume_from_checkpoint is not True:
        checkpoint = Path(resume_from_checkpoint)
        if not checkpoint.is_dir():
            problem = "which is no directory"
        elif problems := find_problems(checkpoint):
            problem = f"which is incomplete: {'; '.join(problems)}"
        else:
            _warn_without_manifest(checkpoint)
            return str(resume_from_checkpoint)
        complete = [path for path in candidates if path != checkpoint and not find_problems(path)]
        way_out = f"{str(complete[0])!r}, the newest complete one beside it" if complete else "a complete checkpoint"
        raise ValueError(
            f"`resume_from_checkpoint` is {str(resume_from_checkpoint)!r}, {problem}. Pass {way_out}, or start anew "
            "without it."
        )

    incomplete = []
    for checkpoint in candidates:
        problems = find_problems(checkpoint)
        if not problems:
            for said in incomplete:
                logger.warning(f"Not resumed from, because it is incomplete: {said}")
            if incomplete:
                logger.warning(f"Training continues from {str(checkpoint)!r}, the newest complete checkpoint.")
            _warn_without_manifest(checkpoint)
            return str(checkpoint)
        incomplete.append(f"{str(checkpoint)!r} ({'; '.join(problems)})")
    raise ValueError(
        f"`resume_from_checkpoint` is True, but no checkpoint in {str(output_dir)!r} is complete"
        f"{': ' + ', '.join(incomplete) if incomplete else ', there is none'}. Pass the directory of another one, or "
        "start anew without it."
    )


def _warn_without_manifest(checkpoint: Path) -> None:
    if not (checkpoint / MANIFEST).is_file():
        logger.warning(
            f"{str(checkpoint)!r} has no {MANIFEST}, as those of other trainers and older versions. What one process "
            "writes is there; where several wrote, see whether the files of each are."
        )


def write_manifest(checkpoint: Path) -> None:
    """Write the list of a checkpoint's files atomically, with the sizes of those that are not text."""
    files = {
        path.relative_to(checkpoint).as_posix(): None if path.suffix == ".json" else path.stat().st_size
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.suffix not in (".md", ".txt", ".py", ".jinja")
    }
    unfinished = checkpoint / f"{MANIFEST}.txt"
    unfinished.write_text(json.dumps(files, indent=1), encoding="utf-8")
    unfinished.replace(checkpoint / MANIFEST)


def find_problems(checkpoint: Path) -> list[str]:
    """What a checkpoint lacks; nothing if it is complete."""
    problems = []
    if not (checkpoint / STATE).is_file():
        problems.append(f"{STATE} is missing")
    elif _read_json(checkpoint / STATE) is None:
        problems.append(f"{STATE} cannot be read")
    if not (checkpoint / MANIFEST).is_file():
        return problems + _find_problems_without_manifest(checkpoint)
    files = _read_json(checkpoint / MANIFEST)
    if files is None:
        return [*problems, f"{MANIFEST} cannot be read"]
    for name, size in files.items():
        path = checkpoint / name
        if not path.is_file():
            problems += [] if name == STATE else [f"{name} is missing"]
        elif size is not None and path.stat().st_size != size:
            problems.append(f"{name} has {path.stat().st_size} of {size} bytes")
    return problems


def _find_problems_without_manifest(checkpoint: Path) -> list[str]:
    """What a checkpoint without a manifest lacks: one of another trainer, or of one that was killed."""
    problems = [f"{SENTINEL} is in it"] if (checkpoint / SENTINEL).is_file() else []
    paths = [path for path in checkpoint.rglob("*") if path.is_file()]
    names = {path.relative_to(checkpoint).parts[0] for path in paths}
    for path in paths:
        name = path.relative_to(checkpoint).as_posix()
        if path.suffix == ".safetensors":
            try:
                with safe_open(path, "pt"):
                    pass
            except (SafetensorError, OSError):
                problems.append(f"{name} cannot be read")
        elif path.suffix in (".pt", ".pth", ".bin") and not zipfile.is_zipfile(path):
            problems.append(f"{name} cannot be read")
        elif name.endswith(".index.json"):
            index = _read_json(path)
            shards = [] if index is None else sorted(set(index["weight_map"].values()))
            problems += [f"{name} cannot be read"] if index is None else []
            problems += [f"{shard} is missing" for shard in shards if not (path.parent / shard).is_file()]
    is_deepspeed = "latest" in names
    if not is_deepspeed and not any(re.match(r"(adapter_|pytorch_)?model", name) for name in names):
        problems.append("the weights are missing")
    is_resumable = is_deepspeed or any(re.match(r"optimizer|scheduler\.pt|rng_state", name) for name in names)
    if is_resumable:  # not saved with `save_only_model`
        if not is_deepspeed:
            problems += [] if any(name.startswith("optimizer") for name in names) else ["optimizer.pt is missing"]
            problems += [] if "scheduler.pt" in names else ["scheduler.pt is missing"]
        problems += [] if any(name.startswith("rng_state") for name in names) else ["rng_state.pth is missing"]
    return problems


def _read_json(path: Path) -> dict | None:
    """A JSON object; None if the file does not hold one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
