# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The code of README and docs runs: Python as it stands, with a tiny model in place of those of the hub."""

import re
import shlex
import tomllib
from dataclasses import fields
from functools import partial
from pathlib import Path

import pytest
from datasets import Dataset
from tiny_agents import AskEnvironment, make_model, make_tokenizer
from trl import ModelConfig

import trl_infopo
from trl_infopo import InfoPOConfig, InfoPOTrainer, check_environment
from trl_infopo.cli import COMMANDS, main


ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "docs" / "adapters" / "serving.md"]
BLOCK = re.compile(r"(?ms)^```(\w+)\n(.*?)^```")
SMALL = {
    "output_dir": "agent",
    "use_cpu": True,
    "bf16": False,
    "max_steps": 1,
    "max_completion_length": 64,
    "generation_kwargs": {"max_new_tokens": 8},
    "logging_steps": 1,
    "save_strategy": "no",
    "disable_tqdm": True,
    "log_traces": True,
}
# What stands for models of the hub and for a GPU, and numbers that would take minutes
IN_PLACE_OF = {
    r'"(Qwen/[\w.-]+|out/plain)"': "MODEL",
    r'"cuda:0"': '"cpu"',
    r'clarify_dataset\("test", 100\)': 'clarify_dataset("test", 2)',
    r"num_runs=4": "num_runs=1, max_turns=2",
}
# Commands that are looked at and not run, each with the reason
NOT_RUN = {
    ".": "activates an environment",
    "accelerate": "several processes: tests/distributed",
    "hf": "needs the hub",
    "jupyter": "a package outside the extras",
    "mkdocs": "tests/test_docs.py builds the site",
    "pip": "installs",
    "pre-commit": "installs",
    "pytest": "the tests",
    "python": "minutes: the examples and benchmarks have tests of their own",
    "python3": "installs: the quick start has tests of its own",
    "ruff": "a check of its own",
    "tensorboard": "a package outside the extras",
    "trackio": "a package outside the extras",
    "trl-infopo": "minutes: each command has tests of its own",
    "vllm": "needs a GPU",
    "VLLM_SERVER_DEV_MODE=1": "needs a GPU",
}


def blocks(page: Path, language: str) -> list[str]:
    return [code for name, code in BLOCK.findall(page.read_text(encoding="utf-8")) if name == language]


def commands(page: Path) -> list[list[str]]:
    """The words of each command of a page."""
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    parts = (part for line in lines for part in line.split(" && "))
    return [words for part in parts if (words := shlex.split(part, comments=True))]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A directory with a tiny model, and the trainer that left its traces where the quick start would."""
    directory = tmp_path_factory.mktemp("docs")
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    model.save_pretrained(directory / "model")
    tokenizer.save_pretrained(directory / "model")
    options = SMALL | {"output_dir": str(directory / "infopo-quickstart" / "InfoPO"), "max_turns": 3}
    dataset = Dataset.from_list([{"prompt": [{"role": "user", "content": "book"}]}] * 8)
    trainer = InfoPOTrainer(
        model=model,
        args=InfoPOConfig(**options),
        train_dataset=dataset,
        environment_factory=AskEnvironment,
        processing_class=tokenizer,
    )
    trainer.train()
    return directory, trainer


def run_blocks(page: Path, trained, monkeypatch) -> dict:
    """Run the Python blocks of a page one after the other, and return the names that they leave."""
    directory, trainer = trained
    monkeypatch.chdir(directory)
    config = partial(InfoPOConfig, **SMALL)
    monkeypatch.setattr(trl_infopo, "InfoPOConfig", config, raising=False)
    names = {
        "__name__": page.stem,
        "MODEL": str(directory / "model"),
        "InfoPOConfig": config,
        "trainer": trainer,
        "dataset": trainer.train_dataset,
        "MyEnvironment": AskEnvironment,
    }
    for code in blocks(page, "python"):
        for text, other in IN_PLACE_OF.items():
            code = re.sub(text, other, code)
        exec(compile(code, str(page), "exec"), names)
    return names


PYTHON_PAGES = [page for page in PAGES if blocks(page, "python")]


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page, trained, monkeypatch):
    run_blocks(page, trained, monkeypatch)


def test_environments_of_the_guide_are_healthy(trained, monkeypatch):
    names = run_blocks(ROOT / "docs" / "guide.md", trained, monkeypatch)
    prompt = [{"role": "user", "content": "Hello!"}]
    for name, row in {
        "Library": {"title": "Moby-Dick"},
        "Travel": {"city": "Paris"},
        "Airline": {},
        "Support": {},
    }.items():
        checkup = check_environment(names[name], [{"prompt": prompt, **row}])
        assert checkup.is_healthy, checkup.findings


BASH_PAGES = [page for page in PAGES if blocks(page, "bash")]


@pytest.mark.parametrize("page", BASH_PAGES, ids=lambda page: page.name)
def test_commands_are_known_with_their_options(page, capsys):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for program, *arguments in commands(page):
        assert program in NOT_RUN, program
        paths = [word for word in arguments if word.endswith((".py", ".yaml")) or word.startswith("tests/")]
        assert all((ROOT / path).exists() for path in paths), paths
        options = {word.partition("=")[0] for word in arguments if word.startswith("--")}
        if program == "pip":
            named = ",".join(re.findall(r"\[(.*?)\]", " ".join(arguments)))
            assert set(filter(None, named.split(","))) <= set(extras)
        elif program == "trl-infopo":
            assert arguments[0] in COMMANDS, arguments[0]
            with pytest.raises(SystemExit):
                main([arguments[0], "--help"])
            known = set(re.findall(r"--\w+", capsys.readouterr().out)) | {"--help"}
            if arguments[0] == "train":
                known |= {f"--{option.name}" for cls in (InfoPOConfig, ModelConfig) for option in fields(cls)}
            assert options <= known, options
        elif program in ("python", "accelerate") and any(path.endswith(".py") for path in paths):
            script = ROOT / next(path for path in paths if path.endswith(".py"))
            assert options <= options_of(script) | {"--config", "--config_file", "--num_processes"}, options


def options_of(script: Path) -> set[str]:
    """Options that a script names, as arguments or fields of a dataclass; for an example, those of a training too."""
    names = re.findall(r"(?m)^    (\w+):|--(\w+)", script.read_text(encoding="utf-8"))
    options = {f"--{field or option}" for field, option in names}
    if "examples" in script.parts:
        options |= {f"--{option.name}" for cls in (InfoPOConfig, ModelConfig) for option in fields(cls)}
    return options
