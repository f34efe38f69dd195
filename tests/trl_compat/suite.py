# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Run the tests that TRL has for `GRPOTrainer`, once as they are and once with `InfoPOTrainer` in its place.

    python tests/trl_compat/suite.py --trl_repository TRL
    python tests/trl_compat/suite.py --trl_repository TRL --coefficient 0.5 -- -k "environment or tool"

What follows on `--` goes to pytest. The tests look for models and data sets of the hub in the current folder first: it
gets tiny random language models with Qwen's real vocabulary, whose token ids the tests rely on, and the data set that
TRL's own script makes. Tests of other models fail, with both trainers. What counts is that the same ones pass.
"""

import argparse
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree


ROOT = Path(__file__).resolve().parents[2]
HUB = "trl-internal-testing"
MODELS = {  # name: (model type, chat template, what is special about its configuration)
    "tiny-Qwen2ForCausalLM-2.5": ("qwen2", "qwen2_5", {}),
    "tiny-Qwen3ForCausalLM": ("qwen3", "qwen3", {}),
    "tiny-Qwen3MoeForCausalLM": (
        "qwen3_moe",
        "qwen3",
        {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "mlp_only_layers": []},
    ),
    "tiny-LlamaForCausalLM-3.2": ("llama", "llama3_2", {}),
    "tiny-MistralForCausalLM-0.2": ("mistral", "qwen2_5", {}),
    "tiny-Qwen2ForSequenceClassification-2.5": ("qwen2", "qwen2_5", {"num_labels": 1}),
    "tiny-Qwen3ForSequenceClassification": ("qwen3", "qwen3", {"num_labels": 1}),
    "tiny-LlamaForSequenceClassification-3.2": ("llama", "llama3_2", {"num_labels": 1}),
}
# Qwen's tokens after its vocabulary, in the order of their ids; those that are not special are part of what is said
SPECIAL = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
]
SPOKEN = [
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"),
]


def make_tokenizer():
    from importlib.metadata import distribution

    from test_conversations import QWEN_PATTERN
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import TikTokenConverter

    package = distribution("dashscope")
    (vocabulary,) = [package.locate_file(path) for path in package.files if path.name == "qwen.tiktoken"]
    tokenizer = TikTokenConverter(str(vocabulary), pattern=QWEN_PATTERN, extra_special_tokens=None).converted()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in SPOKEN])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    assert fast.convert_tokens_to_ids(["<|im_end|>", "<tool_call>", "</think>"]) == [151645, 151657, 151668]
    return fast


def make_models(folder: Path) -> None:
    import torch
    import trl
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    tokenizer = make_tokenizer()
    for name, (model_type, template, special) in MODELS.items():
        config = AutoConfig.for_model(
            model_type,
            vocab_size=len(tokenizer),
            hidden_size=8,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **special,
        )
        torch.manual_seed(0)
        kind = AutoModelForSequenceClassification if "num_labels" in special else AutoModelForCausalLM
        tokenizer.chat_template = (Path(trl.__file__).parent / f"chat_templates/{template}.jinja").read_text()
        model = kind.from_config(config, dtype=torch.float32)  # CPUs take six times as long in bfloat16
        model.save_pretrained(folder / HUB / name)
        tokenizer.save_pretrained(folder / HUB / name)


def make_dataset(folder: Path, repository: Path) -> None:
    """What TRL's script would push to the hub."""
    import datasets

    datasets.disable_progress_bars()

    def save(self, repo_id: str, config_name: str) -> None:
        for split, rows in self.items():
            path = folder / repo_id / config_name / f"{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows.to_parquet(path)

    push, datasets.DatasetDict.push_to_hub = datasets.DatasetDict.push_to_hub, save
    arguments, sys.argv = sys.argv, ["generate_zen_dataset.py", "--push_to_hub", "True"]
    try:
        runpy.run_path(str(repository / "scripts/generate_zen_dataset.py"), run_name="__main__")
    finally:
        datasets.DatasetDict.push_to_hub, sys.argv = push, arguments
    names = sorted(path.name for path in (folder / HUB / "zen").iterdir())
    configs = [
        f"- config_name: {name}\n  data_files:\n"
        + "".join(
            f"  - split: {path.stem}\n    path: {name}/{path.name}\n"
            for path in sorted((folder / HUB / "zen" / name).iterdir())
        )
        for name in names
    ]
    (folder / HUB / "zen" / "README.md").write_text("---\nconfigs:\n" + "".join(configs) + "---\n")


def prepare() -> None:
    """Let the tests import what newer versions of TRL no longer have; runs in their process, as a plugin of pytest."""
    from trl import import_utils

    def find(name: str):
        if name.startswith("is_") and name.endswith("_available"):
            return lambda *args: find_spec(name.removeprefix("is_").removesuffix("_available")) is not None
        raise AttributeError(name)

    import_utils.__getattr__ = find


def swap() -> None:
    """Put `InfoPOTrainer` in the place of `GRPOTrainer`; runs in the process of the tests."""
    import trl

    from trl_infopo import InfoPOConfig, InfoPOTrainer

    coefficient = float(os.environ["SUITE_COEFFICIENT"])

    @dataclass
    class Config(InfoPOConfig):
        info_gain_coef: float = coefficient

    trl.GRPOTrainer, trl.GRPOConfig = InfoPOTrainer, Config


def run(folder: Path, name: str, environment: dict[str, str], arguments: list[str]) -> dict[str, str]:
    """The outcome of each test by its name."""
    report = folder / f"{name}.xml"
    command = [sys.executable, "-m", "pytest", "tests/test_grpo_trainer.py", "-q", "-p", "suite", "--tb=line", "-rf"]
    command += ["-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
    with open(folder / f"{name}.log", "w") as log:
        subprocess.run(command, cwd=folder, env={**os.environ, **environment}, stdout=log, stderr=log)
    outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):
        bad = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        outcomes[f"{case.get('classname').split('.')[-1]}.{case.get('name')}"] = bad
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl_repository", type=Path, required=True, help="a checkout of TRL")
    parser.add_argument("--coefficient", default="0.0", help="`info_gain_coef` of InfoPOTrainer")
    parser.add_argument("arguments", nargs="*", help="for pytest")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    folder = Path(tempfile.mkdtemp())
    print(f"Models, logs and reports are in {folder}", flush=True)
    make_models(folder)
    make_dataset(folder, options.trl_repository.resolve())
    shutil.copytree(options.trl_repository / "tests", folder / "tests")
    environment = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    theirs = run(folder, "GRPOTrainer", environment, options.arguments)
    ours = run(folder, "InfoPOTrainer", {**environment, "SUITE_COEFFICIENT": options.coefficient}, options.arguments)
    for name, outcomes in (("GRPOTrainer", theirs), ("InfoPOTrainer", ours)):
        counts = [f"{sum(o == kind for o in outcomes.values())} {kind}" for kind in sorted(set(outcomes.values()))]
        print(f"{name}: {', '.join(counts)}")
    different = [test for test in theirs if theirs[test] != ours.get(test)]
    for test in different:
        print(f"{test}: {theirs[test]} with GRPOTrainer, {ours.get(test)} with InfoPOTrainer")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
prepare()
if "SUITE_COEFFICIENT" in os.environ:
    swap()
