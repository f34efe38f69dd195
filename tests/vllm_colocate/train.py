# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Two InfoPO steps with vLLM in colocate mode on a CPU, and what was seen. Started by test_colocate.py."""

import argparse
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch


sys.path.insert(0, str(Path(__file__).parents[1]))

import conftest  # noqa: F401


os.environ.update(VLLM_CPU_KVCACHE_SPACE="1", TORCH_COMPILE_DISABLE="1", VLLM_LOGGING_LEVEL="WARNING")

import vllm.model_executor.layers.utils as vllm_layers
from datasets import Dataset
from test_conversations import TalkEnvironment
from tiny_agents import AskEnvironment, make_model, make_tokenizer
from vllm.platforms.cpu import CpuPlatform

from trl_infopo import InfoPOConfig, InfoPOTrainer, infopo_trainer
from trl_infopo.causal_lm import CausalLM


FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}  # in vLLM
BATCH_SIZE = 8

parser = argparse.ArgumentParser()
parser.add_argument("--output_dir", type=Path, required=True)
parser.add_argument("--environment", choices=["tools", "user"], required=True)
parser.add_argument("--dtype", choices=["float32", "bfloat16"], required=True, help="of vLLM; we train in float32")
parser.add_argument("--engine", required=True, help="`info_gain_engine`")
parser.add_argument("--max_model_length", type=int, required=True, help="`vllm_max_model_length`")
args = parser.parse_args()

# On a CPU, vLLM packs the weights after it loaded them, and leaves nothing that new ones could be loaded into
vllm_layers.dispatch_cpu_unquantized_gemm = lambda layer, remove_weight: setattr(
    layer, "cpu_linear", torch.nn.functional.linear
)
# vLLM runs a float32 model in the first dtype of its platform, and TRL passes it no other
CpuPlatform.supported_dtypes = [getattr(torch, args.dtype)]


def weights_seen(trainer, before: dict[str, torch.Tensor]) -> dict:
    """vLLM's weights against the trainer's, and against those of the last sync, which this replaces."""
    ours = dict(trainer.model.named_parameters())
    executor = trainer.vllm_generation.llm.llm_engine.model_executor
    seen = {"num_parameters": 0, "num_different": 0, "largest_change": 0.0}
    for name, theirs in executor.driver_worker.model_runner.model.named_parameters():
        fused, parts = next(((fused, parts) for fused, parts in FUSED.items() if fused in name), ("", ("",)))
        expected = torch.cat([ours[name.replace(fused, part)] for part in parts]).detach().to(theirs.dtype)
        theirs = theirs.detach()[: len(expected)].clone()  # vLLM pads the vocabulary
        seen["num_parameters"] += 1
        seen["num_different"] += not torch.equal(theirs, expected)
        if name in before:
            seen["largest_change"] = max(seen["largest_change"], (theirs - before[name]).abs().max().item())
        before[name] = theirs
    return seen


def main() -> None:
    start = time.perf_counter()
    tokenizer = make_tokenizer("qwen3")
    model_dir = str(args.output_dir / "model")  # vLLM loads it from there
    make_model(tokenizer, head_dim=32).save_pretrained(model_dir)
    tokenizer.save_pretrained(model_dir)
    # Of unequal length, so that one of the two in a step is padded
    requests = ("book please", "book", "please book monday", "book paris please")
    rows = [{"prompt": [{"role": "user", "content": request}], "city": "paris"} for request in requests]
    trainer = InfoPOTrainer(
        model_dir,
        args=InfoPOConfig(
            output_dir=str(args.output_dir),
            use_vllm=True,
            vllm_mode="colocate",
            vllm_max_model_length=args.max_model_length,
            info_gain_engine=args.engine,
            max_steps=2,
            max_turns=5,
            max_completion_length=300,
            per_device_train_batch_size=BATCH_SIZE,
            num_generations=4,
            learning_rate=1e-3,
            logging_steps=1,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        environment_factory={"tools": AskEnvironment, "user": TalkEnvironment}[args.environment],
    )
    seen = {"settings": {name: value for name, value in vars(args).items() if name != "output_dir"}}
    seen |= {"syncs": [], "lengths": [], "scorings": []}
    seen["seconds"] = {"start": time.perf_counter() - start}
    weights, forwards, outputs = {}, [], []
    first_layer = CausalLM(trainer.model).backbone.layers[0]  # which the LM head leaves out
    first_layer.register_forward_hook(lambda module, args, output: forwards.append(1))
    seen["initial_weights"] = weights_seen(trainer, weights)

    sync_weights, generate = trainer.vllm_generation.sync_weights, trainer._generate
    logps, score = trainer._get_per_token_logps_and_entropies, infopo_trainer.score_information_gain

    def watch_sync():
        sync_weights()
        seen["syncs"].append(weights_seen(trainer, weights))

    def watch_generate(prompts):
        output = generate(prompts)
        prompt_ids, completion_ids, *_ = output
        seen["lengths"] += [len(p) + len(c) for p, c in zip(prompt_ids, completion_ids, strict=True)]
        return output

    def watch_logps(*args, **kwargs):
        output = logps(*args, **kwargs)
        outputs.append(output[0])
        return output

    def watch_score(*args, factual_logps=None, **kwargs):
        """Score as asked, again without TRL's log-probabilities, and again with others."""
        counts, gains = [], []
        for factual in (factual_logps, None, factual_logps + 1):
            before = len(forwards)
            gains.append(score(*args, factual_logps=factual, **kwargs))
            counts.append(len(forwards) - before)
        known = ~gains[0].isnan()
        assert torch.equal(known, ~gains[1].isnan())
        seen["scorings"].append(
            {
                "engine": kwargs["engine"],
                "has_their_logps": factual_logps is outputs[-1],
                "gains": gains[0][known].tolist(),
                "num_forwards": counts[0],
                "num_forwards_without_their_logps": counts[1],
                "largest_difference_without_their_logps": (gains[0] - gains[1])[known].abs().max().item(),
                "uses_their_logps": bool(((gains[2] - gains[0])[known] - 1).abs().max() < 1e-4),
            }
        )
        return gains[0]

    trainer.vllm_generation.sync_weights, trainer._generate = watch_sync, watch_generate
    trainer._get_per_token_logps_and_entropies = watch_logps
    infopo_trainer.score_information_gain = watch_score

    start = time.perf_counter()
    trainer.train()
    seen["seconds"]["two_steps"] = time.perf_counter() - start
    trainer.vllm_generation.sync_weights()
    seen["logs"] = [log for log in trainer.state.log_history if "reward" in log]
    model_config = trainer.vllm_generation.llm.llm_engine.model_config
    seen["vllm_dtype"] = str(model_config.dtype).removeprefix("torch.")
    seen["vllm_max_model_length"] = model_config.max_model_len
    seen["versions"] = {name: version(name) for name in ("torch", "transformers", "trl", "vllm-cpu")}
    (args.output_dir / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main()
