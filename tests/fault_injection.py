# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A run of 200 rollouts in which 40 things go wrong, or the same run with what the guide says becomes of each of them.

python fault_injection.py OUTPUT_DIR faulty    # kills itself in the middle; once more, and it resumes
python fault_injection.py OUTPUT_DIR replaced
"""

import asyncio
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import openai  # noqa: F401 - before the first reply, which has a limit of time
import torch
from misbehaving_server import MisbehavingServer, fails, says
from scripted_agents import ScriptedTrainer, make_scripted_trainer
from tiny_agents import make_model, make_tokenizer

from trl_infopo import infopo_trainer
from trl_infopo.rollout import MALFORMED_CALL
from trl_infopo.users import ChatUser, Scenario
from trl_infopo.users.prompt import END_MARKER


NUM_STEPS, BATCH_SIZE = 25, 8
NUM_ROLLOUTS = NUM_STEPS * BATCH_SIZE
FEEDBACK_TIMEOUT, USER_TIMEOUT = 10.0, 4.0  # far above what anything takes that is not slow
TURNS_WITH_FEEDBACK = 3
KILLED = 12 * BATCH_SIZE + 3  # in this rollout, two steps after a checkpoint
# How often each thing goes wrong, each in a rollout of its own. The process is killed once, which makes 40
NUM_FAULTS = {
    "user error": 8,
    "tool error": 7,
    "malformed call": 7,
    "unscored": 5,
    "nonfinite gains": 4,
    "slow user": 4,
    "slow tool": 4,
}


def draw_faults() -> dict[int, str]:
    """Faults by rollout. Slow users share a batch, and so do slow tools, which are waited for together."""
    slow = {24: "slow user", 26: "slow user", 27: "slow user", 31: "slow user"}
    slow |= {136: "slow tool", 137: "slow tool", 138: "slow tool", 140: "slow tool"}
    others = [n for n in range(NUM_ROLLOUTS) if n not in slow and n != KILLED]
    names = [name for name, number in NUM_FAULTS.items() for _ in range(number) if not name.startswith("slow")]
    return slow | dict(zip(random.Random(0).sample(others, len(names)), names, strict=True))


FAULTS = draw_faults()
MARKER = "monday"  # a word that nobody says: the model breaks on it


def script(rollout: int, k: int) -> str:
    """The policy asks the user, calls a tool, asks or writes a broken call, and says goodbye."""
    tool = "order" if rollout % 2 == 0 else "look"  # asynchronous or not
    last = '<tool_call>\n{"name": "look", ...{}}\n</tool_call>'
    return [
        f"{rollout}: to which city?",
        f'<tool_call>\n{{"name": "{tool}", "arguments": {{"item": "{rollout}"}}}}\n</tool_call>',
        last if FAULTS.get(rollout) == "malformed call" else f"{rollout}: which day please?",
        "bye",
    ][k]


class Shop:
    """A user behind an endpoint, and two tools."""

    user: ChatUser
    base_url: str
    is_faulty: bool
    output_dir: Path

    def reset(self, **row) -> None:
        scenario = Scenario("book please", facts=())
        options = {"timeout": USER_TIMEOUT, "max_retries": 2, "backoff": 0.01}
        self.user = ChatUser(scenario, model="m", base_url=self.base_url, api_key="local", **options)

    def _start(self, rollout: int) -> None:
        self.rollout, self.fault = rollout, FAULTS.get(rollout)
        self.masked_feedback = f"Nothing on {MARKER}." if self.fault == "nonfinite gains" else "No information found."

    def look(self, item: str) -> str:
        """
        Look.

        Args:
            item: What.
        """
        if self.is_faulty and self.rollout == KILLED and not (killed := self.output_dir / "killed").exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.is_faulty and self.fault == "slow tool":
            time.sleep(600)
        return self._answer(item)

    async def order(self, item: str) -> str:
        """
        Order.

        Args:
            item: What.
        """
        if self.is_faulty and self.fault == "slow tool":
            await asyncio.sleep(600)
        return self._answer(item)

    def _answer(self, item: str) -> str:
        if self.fault == "slow tool":
            return str({"error": f"No result within {FEEDBACK_TIMEOUT:g} s."})
        if self.fault == "tool error":
            if self.is_faulty:
                raise ValueError(f"no shelf {item}")
            return str({"error": f"no shelf {item}"})
        return f"shelf {int(item) % 7}"

    def get_reward(self) -> float | None:
        if self.fault == "unscored":
            return float("nan") if self.is_faulty and self.rollout % 2 else None
        return self.rollout * 7 % 5 / 4


class Endpoint:
    """Answers for the users; fails or sleeps on the first request of some."""

    def __init__(self, is_faulty: bool):
        self.is_faulty = is_faulty
        self.num_requests = Counter()

    def __call__(self, handler) -> None:
        said = [message["content"] for message in handler.body["messages"] if message["role"] != "system"]
        rollout = next(int(match[1]) for text in said if (match := re.search(r"(\d+): ", text)))
        with handler.server.lock:
            self.num_requests[rollout] += 1
            is_first = self.num_requests[rollout] == 1
        fault = FAULTS.get(rollout) if self.is_faulty and is_first else None
        if fault == "user error":
            return fails(500)(handler)
        if fault == "slow user":
            handler.server.closing.wait(600)
        return says(END_MARKER if said[-1] == "bye" else f"number {rollout % 5}")(handler)


def broken() -> str:
    """Say what is said of calls that cannot be parsed."""
    return MALFORMED_CALL


class ReplacedTrainer(ScriptedTrainer):
    """Malformed calls call a tool that says what the agent is told of them."""

    def _parse(self, episode, ids, context):
        if FAULTS.get(episode.environment.rollout) == "malformed call" and episode.num_actions == 2:
            episode.tools["broken"] = broken
            function = {"name": "broken", "arguments": {}}
            return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
        return super()._parse(episode, ids, context)


def break_on_marker(model, tokenizer) -> None:
    """A model whose logits overflow behind one word."""
    (marker,) = tokenizer.encode(MARKER, add_special_tokens=False)

    def overflow(module, inputs, embeddings):
        return embeddings.masked_fill((inputs[0] == marker)[..., None], torch.nan)

    model.get_input_embeddings().register_forward_hook(overflow)


def replace_gains(environments) -> None:
    """Gains are what the guide says of them: 0 on malformed calls, none where they are not finite."""
    score = infopo_trainer.score_information_gain

    def replaced(*args, **kwargs):
        gains = score(*args, **kwargs)
        for i, environment in enumerate(environments()):
            if environment.fault == "malformed call":
                gains[i, 2] = 0.0
            if environment.fault == "nonfinite gains":
                gains[i] = torch.nan
        return gains

    infopo_trainer.score_information_gain = replaced


def main(output_dir: Path, is_faulty: bool) -> None:
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, num_hidden_layers=1, hidden_size=16, num_attention_heads=2)
    if is_faulty:
        break_on_marker(model, tokenizer)
    with MisbehavingServer(Endpoint(is_faulty)) as server:
        Shop.base_url, Shop.is_faulty, Shop.output_dir = server.url, is_faulty, output_dir
        trainer = make_scripted_trainer(
            output_dir,
            Shop,
            trainer_class=ScriptedTrainer if is_faulty else ReplacedTrainer,
            model=model,
            rows=20,  # two prompts a step: the run, and its resume, go through several epochs
            max_steps=NUM_STEPS,
            per_device_train_batch_size=BATCH_SIZE,
            num_generations=4,
            max_turns=5,
            info_gain_engine="replay",
            feedback_timeout=FEEDBACK_TIMEOUT,
            save_strategy="steps",
            save_steps=5,
            log_completions=True,
            num_completions_to_print=1,
        )
        trainer.script = script
        trainer.started = lambda rollout, environment: environment._start(rollout)
        if not is_faulty:
            replace_gains(lambda: trainer.environments)
        trainer.train(resume_from_checkpoint=any(output_dir.glob("checkpoint-*")) or None)
    (output_dir / "log.json").write_text(json.dumps(trainer.state.log_history))
    torch.save(model.state_dict(), output_dir / "weights.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "faulty")
