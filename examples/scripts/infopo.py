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

# /// script
# dependencies = ["trl-infopo[users,peft]"]
#
# [tool.uv.sources]
# trl-infopo = { path = "../..", editable = true }
# ///
"""
Train an agent in any of the built-in environments, on one process or on many.

```bash
accelerate launch --config_file examples/accelerate_configs/zero3.yaml examples/scripts/infopo.py \
    --config examples/scripts/infopo_clarify.yaml --output_dir clarify-agent
```

`--environment` takes the keys of `trl_infopo.environments.ENVIRONMENTS`. All options of `InfoPOConfig` and of TRL's
`ModelConfig` (PEFT, quantization) can be given; `--help` lists them, `--config` reads them from a file, and the
command line goes before the file. An adapter (`--use_peft`) wants ten times the learning rate, `--learning_rate 1e-5`.
`--resume_from_checkpoint` takes the directory of a checkpoint, or `True` for the newest complete one.
"""

from dataclasses import dataclass, field

from trl import ModelConfig, TrlParser, get_peft_config, get_quantization_config

from trl_infopo import InfoPOConfig, InfoPOTrainer
from trl_infopo.environments import ENVIRONMENTS
from trl_infopo.scripts.arguments import check_fields, parse_arguments
from trl_infopo.scripts.eval import make_factories


@dataclass
class ScriptArguments:
    """Arguments of the script, besides those of the trainer and the model."""

    environment: str = field(
        default="clarify",
        metadata={"help": "Environment that the agent acts in.", "choices": list(ENVIRONMENTS)},
    )
    user: str = field(
        default="plain",
        metadata={
            "help": "User to train with: a persona, one of `trl_infopo.users.PERSONAS`, or `chat:MODEL`, a user "
            "played by a model behind an endpoint. Environments without users ignore it."
        },
    )
    user_base_url: str | None = field(
        default=None,
        metadata={"help": "OpenAI-compatible endpoint of the user `chat:MODEL`. If not set, OpenAI's."},
    )
    num_tasks: int = field(default=2000, metadata={"help": "Number of training tasks."})
    num_eval_tasks: int = field(default=64, metadata={"help": "Number of tasks of the validation split."})

    def __post_init__(self):
        check_fields(self, positive=["num_tasks", "num_eval_tasks"])


def main(argv: list[str] | None = None) -> None:
    parser = TrlParser((ScriptArguments, InfoPOConfig, ModelConfig))
    parser.set_defaults(
        output_dir="infopo-agent",
        max_turns=12,
        num_generations=8,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=4,
        max_completion_length=2048,
        logging_steps=1,
    )
    args, training_args, model_args = parse_arguments(parser, argv, required=["model_name_or_path"])

    training_args.model_init_kwargs = {
        "revision": model_args.model_revision,
        "attn_implementation": model_args.attn_implementation,
        "dtype": model_args.dtype,
        **(training_args.model_init_kwargs or {}),
    }
    family = ENVIRONMENTS[args.environment]
    try:
        [environment_factory] = make_factories(family, [args.user], args.user_base_url).values()
    except (ValueError, ImportError) as error:
        parser.error(str(error))
    evaluates = training_args.eval_strategy != "no"

    trainer = InfoPOTrainer(
        model=model_args.model_name_or_path,
        args=training_args,
        train_dataset=family.make_dataset("train", args.num_tasks, seed=training_args.seed),
        eval_dataset=family.make_dataset("validation", args.num_eval_tasks, seed=0) if evaluates else None,
        environment_factory=environment_factory,
        quantization_config=get_quantization_config(model_args),
        peft_config=get_peft_config(model_args),
    )
    resume = training_args.resume_from_checkpoint
    trainer.train(resume_from_checkpoint=True if resume == "True" else resume)
    trainer.save_model()
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main()
