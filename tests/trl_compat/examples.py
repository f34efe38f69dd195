# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Run the environment examples of TRL's repository with both trainers, and compare the weights.

    python tests/trl_compat/examples.py --trl_repository TRL --openenv_repository OPENENV [OPENENV ...]
    python tests/trl_compat/examples.py --trl_repository TRL --only openenv/catch 2048

Scripts, notebooks and documentation run as they are, from their first line to the construction of the trainer. There,
a tiny policy takes the place of the model, a small configuration that of theirs, and two steps are trained: with
`GRPOTrainer`, with `InfoPOTrainer` at coefficient 0, whose weights must be equal to the bit, and at coefficient 0.5.
Data sets of the hub are replaced by a few rows of the same columns.

OpenEnv's environments run in servers of their own, on this machine, with the same seed for each trainer. They and
their clients are taken from the first checkout of OpenEnv that has them, and openenv itself from the first of all. The
examples need one with synchronous clients, such as 39a4362 of January 2026; the environment of CARLA is younger.
"""

import argparse
import ast
import contextlib
import io
import itertools
import json
import os
import random
import re
import runpy
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from dataclasses import dataclass
from pathlib import Path


ROOT = Path(__file__).resolve().parents[2]
SERVERS = ("echo_env", "openspiel_env", "textarena_env", "carla_env", "browsergym_env", "openreward")


@dataclass(frozen=True)
class Example:
    """
    One example.

    Attributes:
        path (`str`):
            Script, notebook or page, relative to the repository.
        calls (`tuple[str, ...]`):
            Tools that the policy calls, as Python calls with keyword arguments.
        servers (`tuple[str, ...]`):
            Servers that it talks to, of [`SERVERS`].
        arguments (`str`):
            Command line, in which the names of servers in braces become their addresses.
        headings (`tuple[str, ...]`):
            Sections of a page, of which the last constructs the trainer and the others define what it needs.
        game (`str`):
            Game of the TextArena server.
        obstacle (`str`, *optional*):
            Why it cannot run on a machine without hub, GPU and containers.
        images (`bool`):
            Whether its tools return images, so that the policy is a vision-language model.
        note (`str`):
            What else stands in for the original.
    """

    path: str
    calls: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    arguments: str = ""
    headings: tuple[str, ...] = ()
    game: str = "Wordle-v0"
    obstacle: str | None = None
    images: bool = False
    note: str = ""


MOVES = ('move(direction="left")', 'move(direction="right")')
CATCH = (*MOVES, "stay()")
WORDLE = ('guess(guess="[crane]")', 'guess(guess="[bread]")', 'guess(guess="house")')
SUDOKU = ("place(row=1, col=1, number=5)", "place(row=5, col=5, number=1)", "place(row=9, col=2, number=7)")
BIOGRID = (
    'query_biogrid(sql_command="PRAGMA table_info(interactions);")',
    """query_biogrid(sql_command="SELECT * FROM interactions WHERE Alt_IDs_Interactor_A LIKE '%JNKK%'")""",
    'query_biogrid(sql_command="SELECT nothing FROM nowhere")',
)
BROWSER = ('click(bid="13")', 'fill(bid="14", text="hello")', "noop()", 'scroll(direction="down")')
CARLA = ("observe()", "emergency_stop()", 'lane_change(direction="left")')
CARLA_URLS = "--env-urls {carla_env} {carla_env} {carla_env} {carla_env}"
MOCK = "the simulation of its server (`CARLA_MODE=mock`)"
CAMERA = f"{MOCK}, which has no camera, and a picture of our own"
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFElEQVR4nGM8oaHBgA0wYRUdtBIA4DgBKJ8lCQoAAAAASUVORK5CYII="
WORDS = "words of our own in place of NLTK's"
PAGE = "a page of our own behind the server, in place of a browser"
SCRIPTS, NOTEBOOKS, PAGES = "examples/scripts", "examples/notebooks", "docs/source"
EXAMPLES = [
    Example(f"{SCRIPTS}/grpo_2048.py", (*MOVES, 'move(direction="up")', 'move(direction="down")')),
    Example(f"{SCRIPTS}/grpo_agent.py", BIOGRID, note="a few rows in place of the data sets"),
    Example(f"{SCRIPTS}/openenv/echo.py", ('echo(message="Hello World!")', "echo()"), ("echo_env",)),
    Example(f"{SCRIPTS}/openenv/catch.py", CATCH, ("openspiel_env",), "--env-mode space --env-host {openspiel_env}"),
    Example(f"{SCRIPTS}/openenv/wordle.py", WORDLE, ("textarena_env",), note=WORDS),
    Example(f"{SCRIPTS}/openenv/sudoku.py", SUDOKU, ("textarena_env",), game="Sudoku-v0"),
    Example(f"{SCRIPTS}/openenv/multi_env.py", WORDLE + CATCH, ("textarena_env", "openspiel_env"), note=WORDS),
    Example(f"{SCRIPTS}/openenv/carla.py", CARLA, ("carla_env",), CARLA_URLS, note=MOCK),
    Example(f"{SCRIPTS}/openenv/browsergym_llm.py", BROWSER, ("browsergym_env",), note=PAGE),
    Example(f"{SCRIPTS}/openenv/browsergym.py", BROWSER, ("browsergym_env",), images=True, note=PAGE),
    Example(f"{SCRIPTS}/openenv/carla_vlm.py", CARLA, ("carla_env",), CARLA_URLS, images=True, note=CAMERA),
    Example(f"{SCRIPTS}/openenv/carla_vlm_gemma.py", CARLA, ("carla_env",), CARLA_URLS, images=True, note=CAMERA),
    Example(f"{SCRIPTS}/openenv/opencode.py", obstacle="another trainer, `AsyncGRPOTrainer`, with a vLLM server"),
    Example(
        f"{SCRIPTS}/openreward/seta.py",
        ('echo(text="hello")', 'echo(text="trl")', "hint()"),
        ("openreward",),
        "--target {openreward} --num-tasks 4",
        note="the echo environment of TRL's tests in place of SETA",
    ),
    Example(f"{SCRIPTS}/harbor/data_agent.py", obstacle="needs Python 3.12, containers and a data set of the hub"),
    Example(f"{NOTEBOOKS}/grpo_agent.ipynb", BIOGRID, note="a few rows in place of the data sets"),
    Example(f"{NOTEBOOKS}/openenv_wordle_grpo.ipynb", WORDLE, ("textarena_env",), note=WORDS),
    Example(f"{NOTEBOOKS}/openenv_sudoku_grpo.ipynb", SUDOKU, ("textarena_env",), game="Sudoku-v0"),
    Example(
        f"{PAGES}/grpo_trainer.md",
        ("multiply(a=3, b=4)", "async_add(a=3, b=4)", "async_add(a=3)"),
        headings=("Tools",),
    ),
    Example(
        f"{PAGES}/grpo_trainer.md",
        ("increment(step=1)", "increment(step=2)", "increment()"),
        headings=("Environments",),
    ),
    Example(
        f"{PAGES}/grpo_trainer.md",
        ("increment(step=1)", "increment(step=2)"),
        headings=("Providing an external dataset (optional)",),
        obstacle="the page leaves out the docstring of the tool, which `GRPOTrainer` needs",
    ),
    Example(
        f"{PAGES}/grpo_trainer.md",
        ("increment(step=1)", "increment(step=2)"),
        headings=("Environments", "Rewards"),
        obstacle="the page leaves out the body of its reward",
    ),
    Example(
        f"{PAGES}/grpo_trainer.md",
        ('run_code(code="1")', 'move(action="up")'),
        headings=("Multiple environments",),
    ),
    Example(
        f"{PAGES}/openenv.md",
        ('echo(message="Hello World!")', "echo()"),
        ("echo_env",),
        headings=("Quick start",),
    ),
    Example(
        f"{PAGES}/openenv.md",
        WORDLE,
        ("textarena_env",),
        headings=("Environment class", "Reward function and training"),
        note=WORDS,
    ),
    Example(
        f"{PAGES}/openenv.md",
        WORDLE + CATCH,
        ("textarena_env", "openspiel_env"),
        headings=("Example: Wordle + Catch", "Per-environment reward functions", "Dataset with environment routing"),
        obstacle="the page leaves out imports; `openenv/multi_env.py` is the same in full",
        note=WORDS,
    ),
    Example(
        f"{PAGES}/openreward.md",
        ('echo(text="hello")', 'echo(text="trl")', "hint()"),
        ("openreward",),
        headings=("Quick start",),
        note="the echo environment of TRL's tests in place of SETA",
    ),
    Example(f"{PAGES}/harbor.md", headings=("Quick start",), obstacle="needs Python 3.12 and containers"),
]


def name_of(example: Example) -> str:
    path = re.sub(r"^(examples/scripts|examples|docs/source)/", "", example.path)
    return path + (f" ({example.headings[-1]})" if example.headings else "")


# What stands in for the hub ------------------------------------------------------------------------------------------


def load_dataset(name: str, *args, **kwargs):
    """Rows with the columns of the data sets that the examples load."""
    from datasets import Dataset

    if name == "qgallouedec/biogrid":
        names = ["entrez gene/locuslink:JNKK(gene name synonym)", "entrez gene/locuslink:BRCA1", "-"]
        return Dataset.from_dict({"Alt IDs Interactor A": names, "Alt IDs Interactor B": names[::-1]})
    if name == "qgallouedec/biogrid_qa":
        questions = [f"Does the gene {gene} interact with BRCA1?" for gene in ("JNKK", "TP53", "MAPKK4", "AKT1")]
        return Dataset.from_dict(
            {"question": [*questions, "Which genes?"], "answer": ["yes", "no", "no", "yes", "no"]}
        )
    raise FileNotFoundError(f"The data set {name} is on the hub.")


def write_word_list(folder: Path) -> None:
    """The corpora of NLTK that Wordle reads: a few words, all of them nouns."""
    words = "crane bread house plant stone river table light sound glass\n".replace(" ", "\n")
    (folder / "corpora/words").mkdir(parents=True)
    for name in ("en", "en-basic", "README"):
        (folder / "corpora/words" / name).write_text(words)
    tagger = folder / "taggers/averaged_perceptron_tagger_eng"
    tagger.mkdir(parents=True)
    contents = {"weights": {}, "tagdict": dict.fromkeys(words.split(), "NN"), "classes": ["NN"]}
    for name, content in contents.items():
        (tagger / f"averaged_perceptron_tagger_eng.{name}.json").write_text(json.dumps(content))


def serve(name: str, port: int) -> None:
    """Run the server of one of OpenEnv's environments with a fixed seed, and for as many sessions as there are."""
    import numpy as np
    import uvicorn
    from openenv.core.env_server import http_server, interfaces, types

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    interfaces.Environment.SUPPORTS_CONCURRENT_SESSIONS = True
    make_server = http_server.HTTPEnvServer.__init__

    def make_large_server(self, env, action_cls, observation_cls, *args, **kwargs):
        make_server(self, env, action_cls, observation_cls, max_concurrent_envs=64)

    http_server.HTTPEnvServer.__init__ = make_large_server
    if name == "openspiel_env":
        from open_spiel.python import rl_environment

        rl_environment.ChanceEventSampler.__init__.__defaults__ = (0,)
    if name == "textarena_env":
        from textarena_env.server.environment import TextArenaEnvironment

        reset, seeds = TextArenaEnvironment.reset, itertools.count()

        def reset_with_seed(
            self, *args, **kwargs
        ):  # other instances may draw numbers too, such as to say what they are
            random.seed(next(seeds))
            return reset(self, *args, **kwargs)

        TextArenaEnvironment.reset = reset_with_seed
    if name == "carla_env":
        from carla_env.server.carla_environment import CarlaEnvironment

        step = CarlaEnvironment.step

        def step_and_see(self, action, **kwargs):
            observation = step(self, action, **kwargs)
            if action.action_type == "capture_image":
                observation.camera_image = PICTURE
            return observation

        CarlaEnvironment.step = step_and_see
    if name == "browsergym_env":
        from browsergym_env.models import BrowserGymAction, BrowserGymObservation

        class Page(interfaces.Environment):
            """A page with a button, which has to be clicked, and a field."""

            def reset(self, seed=None, episode_id=None, task_name="", **kwargs):
                self._state = types.State(step_count=0)
                return self._observe()

            def step(self, action, **kwargs):
                self._state.step_count += 1
                return self._observe(
                    error="" if re.fullmatch(r"\w+\(.*\)", action.action_str) else "not an action",
                    done=action.action_str == "click('13')",
                )

            def _observe(self, error="", done=False):
                return BrowserGymObservation(
                    goal="Click the button.",
                    axtree_txt=f"[13] button 'Click Me!'\n[14] textbox 'Name'\nstep {self._state.step_count}",
                    error=error,
                    last_action_error=bool(error),
                    screenshot=np.full((30, 40, 3), 40 * (self._state.step_count % 6), dtype=int).tolist(),
                    done=done,
                    reward=float(done),
                )

            @property
            def state(self):
                return self._state

        app = http_server.create_app(Page, BrowserGymAction, BrowserGymObservation, env_name=name)
    else:
        app = __import__(f"{name}.server.app", fromlist=["app"]).app
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def start_servers(example: Example, options: argparse.Namespace, folder: Path) -> tuple[dict[str, str], list]:
    """Addresses of fresh servers by name, and their processes."""
    addresses, processes = {}, []
    for name in example.servers:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {
            **os.environ,
            "PORT": str(port),
            "NLTK_DATA": str(folder),
            "TEXTARENA_ENV_ID": example.game,
            "TEXTARENA_DOWNLOAD_NLTK": "0",
            "CARLA_MODE": "mock",
        }
        command = [sys.executable, __file__, "--serve", name, str(port)]
        if name == "openreward":
            command = [sys.executable, str(options.trl_repository / "tests/experimental/_openreward_echo_env.py")]
        else:
            home = next((path for path in options.openenv_repository if (path / "envs" / name).exists()), None)
            if home is None:
                raise FileNotFoundError(f"No checkout of OpenEnv has {name}.")
            environment["PYTHONPATH"] = os.pathsep.join([str(home / "src"), str(home / "envs")])
        log = open(folder / f"{name}-{port}.log", "w")  # noqa: SIM115
        processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        addresses[name] = f"http://127.0.0.1:{port}"
    for (name, address), process in zip(addresses.items(), processes, strict=True):
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/health", timeout=1)
                break
            if process.poll() is not None:
                raise RuntimeError(f"The server of {name} failed:\n{Path(log.name).read_text()[-2000:]}")
            time.sleep(0.2)
        else:
            raise TimeoutError(f"The server of {name} did not start.")
    return addresses, processes


# Running an example --------------------------------------------------------------------------------------------------


class TrainedError(BaseException):
    """Raised by a trainer that has trained, to leave the example there."""


def make_policy(example: Example) -> tuple:
    """A tiny model to which the calls of an example are likely, and its tokenizer or processor."""
    from tiny_agents import make_agent, tool_call

    texts = []
    for call in example.calls:
        node = ast.parse(call, mode="eval").body
        arguments = {argument.arg: ast.literal_eval(argument.value) for argument in node.keywords}
        texts.append(tool_call(node.func.id, **arguments))
    model, tokenizer = make_agent(texts, max_position_embeddings=16384)
    return give_eyes(model, tokenizer) if example.images else (model, tokenizer)


def give_eyes(agent, tokenizer) -> tuple:
    """A vision-language model whose language model is the agent's, and its processor."""
    import torch
    import trl
    from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    class Model(LlavaForConditionalGeneration):
        def forward(self, input_ids=None, pixel_values=None, attention_mask=None, token_type_ids=None, **kwargs):
            # `GRPOTrainer` passes the types to all models with images but Qwen's
            return super().forward(input_ids, pixel_values, attention_mask, **kwargs)

    tokens = ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": tokens})
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates/qwen3_vl.jinja").read_text()
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"height": 28, "width": 28}, do_center_crop=False),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template,
        image_token="<|image_pad|>",
        num_additional_image_tokens=1,
    )
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=28, patch_size=14, **vision),
        text_config={**agent.config.to_dict(), "vocab_size": len(tokenizer)},
        image_token_index=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
    )
    torch.manual_seed(0)
    model = Model(config).float()
    agent.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    agent.get_output_embeddings().weight.data[-len(tokens) :, 0] = -4.0
    agent.get_input_embeddings().weight.data[-len(tokens) :, 0] = 3.0
    model.model.language_model.load_state_dict(agent.model.state_dict())
    model.lm_head.load_state_dict(agent.lm_head.state_dict())
    model.generation_config = agent.generation_config
    return model, processor


def swapped(trainer_class: type, config_class: type, example: Example, output_dir: str, **options):
    """A trainer and its configuration that do with an example's arguments what this file says."""

    options = {
        "output_dir": output_dir,
        "max_steps": 2,
        "learning_rate": 1e-3,
        "warmup_steps": 0,
        "per_device_train_batch_size": 4,
        "num_generations": 4,
        "gradient_accumulation_steps": 1,
        "steps_per_generation": None,
        "generation_batch_size": None,
        "max_completion_length": 1024,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "bf16": False,
        "use_vllm": False,
        "report_to": [],
        "log_completions": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "push_to_hub": False,
        "disable_tqdm": True,
        **options,
    }

    class Config(config_class):
        def __post_init__(self):
            for name, value in options.items():
                setattr(self, name, value)
            super().__post_init__()

    class Trainer(trainer_class):
        def __init__(self, model=None, args=None, processing_class=None, **kwargs):
            model, processing_class = make_policy(example)
            args = args or Config()
            args.gradient_checkpointing = False
            super().__init__(model=model, args=args, processing_class=processing_class, **kwargs)
            self.train()
            raise TrainedError(self)

    return Trainer, Config


def execute(example: Example, repository: Path, addresses: dict[str, str]) -> None:
    """Run an example as far as it goes."""
    path = repository / example.path
    if path.suffix == ".py":
        sys.argv = [str(path), *example.arguments.format(**addresses).split()]
        runpy.run_path(str(path), run_name="__main__")
        return
    names: dict = {"__name__": "__main__"}
    if path.suffix == ".ipynb":
        cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
        for source in ("".join(cell["source"]) for cell in cells):
            if source.startswith("!pip") or "notebook_login" in source or "torch.cuda" in source:
                continue
            exec(compile(source, str(path), "exec"), names)
        return
    import datasets

    # A page leaves out what its reader knows: the rest of the arguments, and what earlier sections define
    names |= {"THE_REST": {"train_dataset": prompts(), "reward_funcs": reward_func}, "reward_func": reward_func}
    names |= {"Dataset": datasets.Dataset}
    for heading in example.headings:
        for source in python_blocks(path.read_text(), heading):
            if "tools=[tool1, tool2]" in source:
                continue
            source = source.replace("    ...,\n", "    **THE_REST,\n")
            tree = ast.parse(source)
            if heading != example.headings[-1]:
                kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
                tree.body = [node for node in tree.body if isinstance(node, kinds) or is_constant(node)]
            exec(compile(tree, str(path), "exec"), names)


def is_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) and t.id.isupper() for t in node.targets)


def python_blocks(page: str, heading: str) -> list[str]:
    """The Python of a section without its subsections."""
    (section,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def prompts():
    from datasets import Dataset

    return Dataset.from_dict({"prompt": [[{"role": "user", "content": f"What is {i} times 4?"}] for i in range(8)]})


def reward_func(completions, **kwargs) -> list[float]:
    return [float(len(str(completion)) % 7) for completion in completions]


def compare(example: Example, options: argparse.Namespace) -> dict:
    """Train on an example with both trainers, in this process."""
    import datasets
    import huggingface_hub
    import trl

    import trl_infopo
    from trl_infopo import conversation_trainer

    folder = Path(tempfile.mkdtemp())
    write_word_list(folder)
    os.chdir(folder)
    datasets.load_dataset = load_dataset
    huggingface_hub.notebook_login = None
    sys.path[:0] = [str(path / "envs") for path in options.openenv_repository]
    sys.path[:0] = [str(path / "src") for path in options.openenv_repository[:1]]
    original = trl.GRPOTrainer, trl.GRPOConfig
    ours = trl_infopo.InfoPOTrainer, trl_infopo.InfoPOConfig

    def train(classes: tuple[type, type], **settings):
        loops: dict[str, int] = {"TRL's": 0, "ours": 0}
        theirs_loop, our_loop = original[0]._tool_call_loop, conversation_trainer.converse

        def count(name, function):
            def counting(*args, **kwargs):
                loops[name] += 1
                return function(*args, **kwargs)

            return counting

        addresses, processes = start_servers(example, options, folder)
        redirect(addresses)
        original[0]._tool_call_loop = count("TRL's", theirs_loop)
        conversation_trainer.converse = count("ours", our_loop)
        trl.GRPOTrainer, trl.GRPOConfig = swapped(*classes, example, str(folder), **settings)
        random.seed(0)
        trainer = None
        try:
            execute(example, options.trl_repository, addresses)
        except TrainedError as trained:
            (trainer,) = trained.args
        finally:
            trl.GRPOTrainer, trl.GRPOConfig = original
            original[0]._tool_call_loop, conversation_trainer.converse = theirs_loop, our_loop
            for process in processes:
                process.kill()
                process.wait()
        if trainer is None:
            raise RuntimeError("The example constructed no trainer.")
        loop = " and ".join(name for name, times in loops.items() if times) or "none"
        return trainer, loop

    def parameters(trainer):
        return dict(trainer.model.named_parameters())

    def equal(one, other) -> bool:
        one, other = parameters(one), parameters(other)
        return list(one) == list(other) and all(one[name].equal(other[name]) for name in one)

    theirs, _ = train(original)
    row = {"calls": mean(theirs, "tools/call_frequency"), "failures": mean(theirs, "tools/failure_frequency")}
    zero, row["loop"] = train(ours, info_gain_coef=0.0)
    row["equal"] = equal(theirs, zero)
    if not row["equal"]:
        row["repeats"] = equal(theirs, train(original)[0])
    try:
        gain, loop = train(ours, info_gain_coef=0.5)
    except ValueError as error:
        if not example.images or "images" not in str(error):
            raise
        return {**row, "refused": True}
    row["loop"] = row["loop"] if loop == row["loop"] else f"{row['loop']}; {loop} at 0.5"
    row["finite"] = all(parameter.isfinite().all().item() for parameter in gain.model.parameters())
    row["gain"] = mean(gain, "infopo/information_gain/mean")
    row["differs"] = not equal(theirs, gain)
    return row


def mean(trainer, name: str) -> float | None:
    values = [row[name] for row in trainer.state.log_history if row.get(name) is not None]
    return sum(values) / len(values) if values else None


def redirect(addresses: dict[str, str]) -> None:
    """Send OpenEnv's and OpenReward's clients to the servers of this machine, whatever address the example has."""
    if "openreward" in addresses:
        variables = ("OPENREWARD_API_URL", "OPENREWARD_SESSION_URL")
        os.environ.update(dict.fromkeys(variables, addresses["openreward"]), OPENREWARD_API_KEY="none")
    if addresses.keys() - {"openreward"}:
        from openenv.core import env_client

        make = redirect.make = getattr(redirect, "make", env_client.EnvClient.__init__)

        def make_local(self, base_url, *args, **kwargs):
            make(self, addresses[type(self).__module__.split(".")[0]], *args, **kwargs)

        env_client.EnvClient.__init__ = make_local


# The command ---------------------------------------------------------------------------------------------------------


def run(example: Example, options: argparse.Namespace) -> dict:
    """Compare in a process of its own; what went wrong under `error`."""
    if example.obstacle:
        return {"error": example.obstacle}
    command = [sys.executable, __file__, "--run", str(EXAMPLES.index(example)), "--trl_repository"]
    command += [str(options.trl_repository), "--openenv_repository", *map(str, options.openenv_repository)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=options.timeout)
    except subprocess.TimeoutExpired:
        return {"error": f"not done within {options.timeout} s"}
    if options.verbose:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
    last = done.stdout.strip().splitlines()[-1:]
    return json.loads(last[0]) if done.returncode == 0 else {"error": done.stderr.strip().splitlines()[-1]}


def describe(example: Example, row: dict) -> str:
    if "error" in row:
        return f"| `{name_of(example)}` | no: {row['error']} | | | |"
    ran = "yes" + (f", with {example.note}" if example.note else "")
    if row["equal"]:
        weights = "equal"
    else:
        weights = "DIFFERENT" if row["repeats"] else "cannot be compared: `GRPOTrainer` does not repeat itself"
    if row.get("refused"):
        trained = "an error: images are not supported"
    elif not row["finite"]:
        trained = "NOT FINITE"
    else:
        trained = "trains" if row["differs"] else "the same: no turn has a gain"
    return f"| `{name_of(example)}` | {ran} | {weights} | {trained} | {row['loop']} |"


def main() -> int:
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], int(sys.argv[3]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl_repository", type=Path, required=True, help="a checkout of TRL")
    parser.add_argument("--openenv_repository", type=Path, nargs="*", default=[], help="checkouts of OpenEnv")
    parser.add_argument("--only", nargs="*", help="parts of the names of examples")
    parser.add_argument("--timeout", type=int, default=900, help="seconds for each example")
    parser.add_argument("--output", type=Path, help="file to write the table to")
    parser.add_argument("--verbose", action="store_true", help="show what the examples print")
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.trl_repository = options.trl_repository.resolve()
    options.openenv_repository = [path.resolve() for path in options.openenv_repository]
    if options.run is not None:
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                row = compare(EXAMPLES[options.run], options)
        except Exception:
            print(printed.getvalue()[-5000:])
            traceback.print_exc()
            return 1
        print(json.dumps(row))
        return 0
    lines = [
        "| example | runs | weights at coefficient 0 | at coefficient 0.5 | loop |",
        "|---|---|---|---|---|",
    ]
    print(*lines, sep="\n", flush=True)
    good = True
    for example in EXAMPLES:
        if options.only and not any(part in name_of(example) for part in options.only):
            continue
        row = run(example, options)
        good = good and row.get("equal", True) and row.get("finite", True)
        lines.append(describe(example, row))
        print(lines[-1], flush=True)
    if options.output is not None:
        options.output.write_text("\n".join(lines) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
