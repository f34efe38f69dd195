# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Which checkpoint a training goes on from, and where it ends; what the model card says."""

import logging
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
from peft import LoraConfig
from tiny_agents import make_model, make_tokenizer
from trainer_helpers import assert_equal_parameters, dataset, make_trainer
from transformers import TrainerCallback
from trl import GRPOTrainer

from trl_infopo._checkpoints import find_checkpoint, find_problems
from trl_infopo.infopo_trainer import InfoPOTrainer


TESTS = Path(__file__).parent
OPTIONS = {"max_steps": 4, "save_strategy": "steps", "save_steps": 1}


def run(output_dir, resume=None, mode="environment", trainer_class=InfoPOTrainer, **options):
    trainer = make_trainer(output_dir, mode, trainer_class, options=OPTIONS | options)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> InfoPOTrainer:
    """A run of four steps with a checkpoint for each."""
    return run(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def saved(whole, tmp_path) -> Path:
    """A copy of its output."""
    return Path(shutil.copytree(whole.args.output_dir, tmp_path / "saved"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# Damage, and what is said of it
DAMAGES = {
    "no state": (lambda path: (path / "trainer_state.json").unlink(), "trainer_state.json is missing"),
    "half a state": (lambda path: cut(path / "trainer_state.json"), "trainer_state.json cannot be read"),
    "empty state": (lambda path: (path / "trainer_state.json").write_text(""), "trainer_state.json cannot be read"),
    "half the weights": (lambda path: cut(path / "model.safetensors"), "model.safetensors"),
    "no weights": (lambda path: (path / "model.safetensors").unlink(), "weights are missing|model.safetensors is"),
    "no optimizer": (lambda path: (path / "optimizer.pt").unlink(), "optimizer.pt is missing"),
    "half an optimizer": (lambda path: cut(path / "optimizer.pt"), "optimizer.pt"),
    "no scheduler": (lambda path: (path / "scheduler.pt").unlink(), "scheduler.pt is missing"),
    "no random state": (lambda path: (path / "rng_state.pth").unlink(), "rng_state.pth is missing"),
    "empty random state": (lambda path: (path / "rng_state.pth").write_bytes(b""), "rng_state.pth"),
}


@pytest.mark.parametrize("listed", [True, False], ids=["with list of files", "without"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_is_passed_over_and_refused_by_name(saved, caplog, damage, listed):
    harm, said = DAMAGES[damage]
    newest = saved / "checkpoint-4"
    if not listed:
        for checkpoint in saved.glob("checkpoint-*"):
            (checkpoint / "checkpoint_files.json").unlink()
    assert find_checkpoint(True, str(saved)) == str(newest)
    harm(newest)
    with caplog.at_level(logging.WARNING):
        assert find_checkpoint(True, str(saved)) == str(saved / "checkpoint-3")
    assert str(newest) in caplog.text
    with pytest.raises(
        ValueError, match=rf"(?s)checkpoint-4'.*incomplete: .*({said}).*Pass '.*checkpoint-3', the newest"
    ):
        find_checkpoint(str(newest), "elsewhere")


@pytest.mark.parametrize("resume", [True, "checkpoint-4"])
def test_a_checkpoint_without_a_list_of_files_is_not_said_to_be_complete(saved, caplog, resume):
    """Nothing in it tells whether another process had more to write."""
    resume = resume if resume is True else str(saved / resume)
    with caplog.at_level(logging.WARNING):
        find_checkpoint(resume, str(saved))
        assert not caplog.records
        (saved / "checkpoint-4" / "checkpoint_files.json").unlink()
        find_checkpoint(resume, str(saved))
    [record] = caplog.records
    assert "checkpoint-4' has no checkpoint_files.json" in record.getMessage()


def test_training_goes_on_from_the_newest_complete_checkpoint(whole, saved, caplog):
    cut(saved / "checkpoint-4" / "optimizer.pt")
    (saved / "checkpoint-3" / "trainer_state.json").unlink()
    resumed = run(saved, resume=True)
    assert_equal_parameters(whole, resumed)
    for step in (3, 4):
        assert f"checkpoint-{step}' (" in caplog.text
        assert find_problems(saved / f"checkpoint-{step}") == []  # written anew
    with pytest.raises(
        ValueError, match="`resume_from_checkpoint` is '.*nowhere', which is no directory. Pass '.*-4'"
    ):
        run(saved, resume=str(saved / "nowhere"))


def test_without_a_complete_checkpoint_nothing_starts(saved):
    for checkpoint in saved.glob("checkpoint-*"):
        (checkpoint / "trainer_state.json").unlink()
    with pytest.raises(
        ValueError, match=r"(?s)no checkpoint in .* is complete: .*checkpoint-4' \(trainer_state.json is"
    ):
        run(saved, resume=True)
    with pytest.raises(ValueError, match="no checkpoint in '.*other' is complete, there is none"):
        find_checkpoint(True, str(saved / "other"))


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import conftest, torch
from test_checkpoints import OPTIONS, make_trainer

save = torch.save
def save_half(obj, path, *args, **kwargs):
    save(obj, path, *args, **kwargs)
    if "checkpoint-3" in str(path) and str(path).endswith({file!r}):
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
torch.save = save_half
make_trainer({output_dir!r}, options=OPTIONS | {{"save_total_limit": 1}}).train()
"""


@pytest.mark.thorough
@pytest.mark.parametrize("file", ["optimizer.pt", "rng_state.pth"])
def test_run_killed_in_a_save_ends_where_the_whole_run_ends(whole, tmp_path, file):
    code = KILLED.format(tests=str(TESTS), file=file, output_dir=str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # The last complete one outlives the limit until the next is complete
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-3"]
    resumed = run(tmp_path, resume=True, save_total_limit=1)
    assert_equal_parameters(whole, resumed)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-4"]


def test_checkpoint_is_not_complete_while_it_is_written_over(saved, monkeypatch):
    def fail(self, *args):
        raise OSError("No space left on device")

    monkeypatch.setattr(InfoPOTrainer, "_save_optimizer_and_scheduler", fail)
    with pytest.raises(OSError, match="No space"):
        run(saved, resume=str(saved / "checkpoint-2"))
    assert find_checkpoint(True, str(saved)) == str(saved / "checkpoint-4")
    assert find_problems(saved / "checkpoint-3") == ["trainer_state.json is missing"]


def test_old_checkpoints_are_deleted_after_the_new_one_is_complete(tmp_path, monkeypatch):
    from transformers import trainer as transformers_trainer

    rotate, seen = transformers_trainer.rotate_checkpoints, []

    def spy(*args, **kwargs):
        seen.append(find_checkpoint(True, str(tmp_path)))
        rotate(*args, **kwargs)

    monkeypatch.setattr(transformers_trainer, "rotate_checkpoints", spy)
    run(tmp_path, max_steps=2, save_total_limit=1)
    assert [Path(path).name for path in seen] == ["checkpoint-1", "checkpoint-2"]


@pytest.mark.parametrize("kind", ["weights only", "adapter", "GRPOTrainer"])
def test_other_complete_checkpoints_are_complete(tmp_path, kind):
    options = OPTIONS | {"max_steps": 1, "save_only_model": kind == "weights only"}
    peft_config = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM") if kind == "adapter" else None
    trainer_class = GRPOTrainer if kind == "GRPOTrainer" else InfoPOTrainer
    make_trainer(tmp_path, "plain", trainer_class, options=options, peft_config=peft_config).train()
    checkpoint = tmp_path / "checkpoint-1"
    assert find_problems(checkpoint) == []
    (checkpoint / "checkpoint_files.json").unlink(missing_ok=True)
    assert find_problems(checkpoint) == []
    cut(next(checkpoint.glob("*.safetensors")))
    assert find_problems(checkpoint) != []


# ---- rollouts that are used again

REUSE = {
    "iterations": {"num_iterations": 2},
    "steps per generation": {"steps_per_generation": 2, "per_device_train_batch_size": 4},
    "both": {"num_iterations": 2, "steps_per_generation": 2, "per_device_train_batch_size": 4},
}


@pytest.mark.quick(1)
@pytest.mark.parametrize(("mode", "reuse"), [*(("plain", reuse) for reuse in REUSE), ("environment", "both")])
def test_run_resumed_between_uses_of_its_rollouts_ends_where_the_whole_run_ends(tmp_path, caplog, mode, reuse):
    options = REUSE[reuse] | {"max_steps": 6}
    whole = run(tmp_path / "whole", mode=mode, **options)
    for step in (1, 2, 3):
        checkpoint = tmp_path / "whole" / f"checkpoint-{step}"
        resumed = run(tmp_path / f"from {step}", resume=str(checkpoint), mode=mode, **options)
        assert_equal_parameters(whole, resumed)
        assert [log["reward"] for log in resumed.state.log_history if "reward" in log][-1:] == [
            log["reward"] for log in whole.state.log_history if "reward" in log
        ][-1:]
    assert "two uses" not in caplog.text


@pytest.mark.thorough
def test_run_resumed_in_a_later_epoch_sees_the_rows_in_the_order_of_the_whole_run(tmp_path):
    """Eight rows, two a step: an epoch has four steps."""
    whole = run(tmp_path / "whole", max_steps=10)
    for step in (3, 4, 6, 8):
        checkpoint = tmp_path / "whole" / f"checkpoint-{step}"
        assert_equal_parameters(whole, run(tmp_path / f"from {step}", resume=str(checkpoint), max_steps=10))


def test_rollouts_are_saved_only_between_two_uses(tmp_path):
    run(tmp_path, mode="plain", num_iterations=2)
    has_rollouts = {path.parent.name[-1] for path in tmp_path.glob("checkpoint-*/rollouts_0.pt")}
    assert has_rollouts == {"1", "3"}
    run(tmp_path, mode="plain")  # over the same directories
    assert not list(tmp_path.glob("checkpoint-*/rollouts_0.pt"))


def test_a_shorter_step_at_the_end_of_an_epoch_is_no_loss_of_rollouts(tmp_path, caplog):
    """An epoch has one batch of rollouts in three parts, and so a step of two and a step of one."""
    options = {"steps_per_generation": 3, "gradient_accumulation_steps": 2, "max_steps": 4}
    options |= {"per_device_train_batch_size": 4, "num_generations": 4}
    rows = dataset().select(range(3))
    whole = make_trainer(tmp_path / "whole", "plain", options=OPTIONS | options, train_dataset=rows)
    whole.train()
    resumed = make_trainer(tmp_path / "resumed", "plain", options=OPTIONS | options, train_dataset=rows)
    with caplog.at_level(logging.WARNING):
        resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert "two uses" not in caplog.text
    assert_equal_parameters(whole, resumed)


def test_an_interrupted_trainer_resumes_as_a_new_one_does(tmp_path):
    """In a notebook, the trainer still holds the rollouts of the step that was interrupted."""
    options = {"gradient_accumulation_steps": 4, "per_device_train_batch_size": 2, "num_generations": 2}
    options |= OPTIONS | {"max_steps": 2}
    whole = make_trainer(tmp_path / "whole", options=options)
    whole.train()
    trainer = make_trainer(tmp_path / "interrupted", options=options)
    loss, calls = trainer.compute_loss, []

    def interrupted(*args, **kwargs):
        calls.append(trainer.state.global_step)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return loss(*args, **kwargs)

    trainer.compute_loss = interrupted
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer._step % 4
    trainer.train(resume_from_checkpoint=True)
    assert_equal_parameters(whole, trainer)


def test_data_that_begins_anew_is_sampled_anew(tmp_path):
    run(tmp_path / "first", mode="plain", num_iterations=2)
    resumed = make_trainer(
        tmp_path / "resumed", "plain", options=OPTIONS | {"num_iterations": 2, "ignore_data_skip": True}
    )
    steps = []

    class Note(TrainerCallback):
        def on_step_begin(self, *args, **kwargs):
            steps.append(resumed._step)

    resumed.add_callback(Note())
    resumed.train(resume_from_checkpoint=str(tmp_path / "first" / "checkpoint-1"))
    assert steps[0] == 0


@pytest.mark.quick(1)
@pytest.mark.parametrize("reason", ["are not in it", "are of another layout .num_iterations was 2 and is 4."])
def test_lost_rollouts_are_told_with_the_way_out(tmp_path, caplog, reason):
    checkpoint = tmp_path / "checkpoint-1"
    run(tmp_path, mode="plain", trainer_class=GRPOTrainer if "not" in reason else InfoPOTrainer, num_iterations=2)
    with caplog.at_level(logging.WARNING):
        run(tmp_path / "resumed", mode="plain", resume=str(checkpoint), num_iterations=2 if "not" in reason else 4)
    [said] = [record.getMessage() for record in caplog.records if "two uses" in record.getMessage()]
    assert str(checkpoint) in said
    assert f"num_iterations / gradient_accumulation_steps` = {2 if 'not' in reason else 4}." in said


def test_rollouts_of_another_step_are_not_taken(tmp_path):
    """A copy on the Hub, whose files are only added, keeps those of an earlier checkpoint."""
    whole = run(tmp_path / "whole", mode="plain", num_iterations=2)
    mixed = tmp_path / "last-checkpoint"
    for step in (1, 2):
        shutil.copytree(tmp_path / "whole" / f"checkpoint-{step}", mixed, dirs_exist_ok=True)
    assert (mixed / "rollouts_0.pt").is_file()
    assert_equal_parameters(whole, run(tmp_path / "resumed", mode="plain", resume=str(mixed), num_iterations=2))


class SaveWithinAStep(TrainerCallback):
    """What `enable_jit_checkpoint` does at a signal."""

    def __init__(self, steps):
        self.steps, self.trainer = steps, None

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step in self.steps:
            self.trainer._save_checkpoint(self.trainer.model, None)


@pytest.mark.quick(1)
@pytest.mark.parametrize("reuse", ["both", "iterations"])
def test_a_checkpoint_within_a_step_goes_on_at_its_beginning(tmp_path, reuse):
    options = OPTIONS | REUSE[reuse] | {"max_steps": 6, "save_strategy": "no"}
    callback = SaveWithinAStep([1, 2, 3, 4])
    whole = callback.trainer = make_trainer(tmp_path / "whole", "plain", options=options, callbacks=[callback])
    sampled = note_sampling(whole)
    whole.train()
    for step in callback.steps:
        resumed = make_trainer(tmp_path / f"from {step}", "plain", options=options)
        again = note_sampling(resumed)
        resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
        assert again == {at: prompts for at, prompts in sampled.items() if at >= step}
        assert (resumed._step - whole._step) % whole._generate_every == 0


def note_sampling(trainer) -> dict[int, list]:
    """The prompts that are sampled, by step."""
    sampled, generate = {}, trainer._generate

    def noted(prompts):
        sampled[trainer.state.global_step] = list(prompts)
        return generate(prompts)

    trainer._generate = noted
    return sampled


def test_rollouts_without_what_the_loss_needs_are_sampled_anew(tmp_path, caplog):
    options, adapter = OPTIONS | {"num_iterations": 2}, LoraConfig(task_type="CAUSAL_LM")  # its base is the reference
    make_trainer(tmp_path / "first", "plain", options=options, peft_config=adapter).train()
    trainer = make_trainer(tmp_path / "resumed", "plain", options=options | {"beta": 0.1}, peft_config=adapter)
    with caplog.at_level(logging.WARNING):
        trainer.train(resume_from_checkpoint=str(tmp_path / "first" / "checkpoint-1"))
    assert "beta above 0 was False and is True" in caplog.text


def test_no_table_of_completions_is_empty(tmp_path):
    options = {"num_iterations": 2, "log_completions": True}
    run(tmp_path, mode="plain", **options)
    tables = {path.name: path.read_bytes() for path in tmp_path.rglob("completions_*.parquet")}
    assert tables
    run(tmp_path, mode="plain", resume=str(tmp_path / "checkpoint-1"), **options)
    for path in tmp_path.rglob("completions_*.parquet"):
        assert len(pandas.read_parquet(path)), path.name
    assert tables.keys() <= {path.name for path in tmp_path.rglob("completions_*.parquet")}


# ---- the model card


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "LoRA"])
def test_model_card_names_a_local_model(tmp_path, adapter):
    tokenizer = make_tokenizer()
    make_model(tokenizer).save_pretrained(tmp_path / "my-policy")
    tokenizer.save_pretrained(tmp_path / "my-policy")
    peft_config = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM") if adapter else None
    trainer = make_trainer(tmp_path / "agent", model=str(tmp_path / "my-policy"), peft_config=peft_config)
    trainer.create_model_card()
    card = (tmp_path / "agent" / "README.md").read_text()
    assert "fine-tuned version of `my-policy`, a local model.\n" in card
    assert "# Model Card for agent\n" in card
    assert 'model="agent"' in card
    assert "None" not in card
    assert str(tmp_path) not in card


def test_model_card_of_a_run_says_what_it_knows(whole):
    card = Path(whole.args.output_dir, "README.md").read_text()
    assert "fine-tuned version of a model that was made in memory.\n" in card
    assert "None" not in card


def test_model_card_links_a_model_of_the_hub(tmp_path):
    model = make_model(make_tokenizer())
    model.config.name_or_path = "someone/model"
    trainer = make_trainer(tmp_path, model=model)
    trainer.create_model_card("agent", dataset_name="someone/data")
    card = (tmp_path / "README.md").read_text()
    assert "of [someone/model](https://huggingface.co/someone/model) on the [someone/data](" in card
