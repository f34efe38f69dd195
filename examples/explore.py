# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

# /// script
# dependencies = ["trl-infopo[games,peft]"]
#
# [tool.uv.sources]
# trl-infopo = { path = "..", editable = true }
# ///
"""
Train an agent to explore: only the world answers.

Three games: a frozen lake whose holes show only from the tile next to them, Sokoban, both behind a tool `move`, and
Mastermind in plain text, where the game's answers come back as the user's messages.

```bash
python examples/explore.py --model_name_or_path Qwen/Qwen3-0.6B --output_dir explore-agent
```

All options of `InfoPOConfig` and of TRL's `ModelConfig` (PEFT, quantization) can be given; `--help` lists them, and
`--config my.yaml` reads them from a file. An adapter (`--use_peft`) needs ten times the learning rate of full
training, `--learning_rate 1e-5`.
"""

from dataclasses import dataclass, field
from functools import partial

from trl import ModelConfig, TrlParser, get_peft_config, get_quantization_config

from trl_infopo import InfoPOConfig, InfoPOTrainer
from trl_infopo.environments import (
    FrozenLakeEnv,
    SokobanEnv,
    TextArenaEnv,
    frozen_lake_dataset,
    sokoban_dataset,
    text_game_dataset,
)
from trl_infopo.scripts.arguments import check_fields, parse_arguments


GAMES = {
    "frozen_lake": (FrozenLakeEnv, frozen_lake_dataset),
    "sokoban": (SokobanEnv, sokoban_dataset),
    "mastermind": (partial(TextArenaEnv, "Mastermind-v0"), partial(text_game_dataset, game_id="Mastermind-v0")),
}


@dataclass
class ScriptArguments:
    """Arguments of the example, besides those of the trainer and the model."""

    game: str = field(default="frozen_lake", metadata={"help": "Game to play.", "choices": list(GAMES)})
    num_tasks: int = field(default=1000, metadata={"help": "Number of training levels."})
    num_eval_tasks: int = field(default=64, metadata={"help": "Number of levels of the validation split."})

    def __post_init__(self):
        check_fields(self, positive=["num_tasks", "num_eval_tasks"])


def main(argv: list[str] | None = None) -> None:
    parser = TrlParser((ScriptArguments, InfoPOConfig, ModelConfig))
    parser.set_defaults(
        output_dir="explore-agent",
        info_gain_coef=0.5,
        gate_temperature=0.5,
        max_turns=30,
        num_generations=8,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=4,
        max_completion_length=2048,
        chat_template_kwargs={"enable_thinking": False},
        log_completions=True,
        logging_steps=1,
    )
    args, training_args, model_args = parse_arguments(parser, argv, required=["model_name_or_path"])
    training_args.model_init_kwargs = {
        "revision": model_args.model_revision,
        "attn_implementation": model_args.attn_implementation,
        "dtype": model_args.dtype,
        **(training_args.model_init_kwargs or {}),
    }

    environment_factory, make_dataset = GAMES[args.game]

    trainer = InfoPOTrainer(
        model=model_args.model_name_or_path,
        args=training_args,
        train_dataset=make_dataset("train", args.num_tasks, seed=training_args.seed),
        eval_dataset=make_dataset("validation", args.num_eval_tasks, seed=training_args.seed),
        environment_factory=environment_factory,
        quantization_config=get_quantization_config(model_args),
        peft_config=get_peft_config(model_args),
    )
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
    trainer.save_model()


if __name__ == "__main__":
    main()
