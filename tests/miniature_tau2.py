# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A miniature with the interface that the adapter uses of τ²-bench, made up here: two domains of one shop."""

import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest import mock


GREETING = "Good day!"
STOP = "###STOP###"


class Role(Enum):
    AGENT, USER, ENV = "agent", "user", "env"


class TerminationReason(StrEnum):
    USER_STOP = "user_stop"
    MAX_STEPS = "max_steps"
    TOO_MANY_ERRORS = "too_many_errors"
    CONTEXT_WINDOW_EXCEEDED = "context_window_exceeded"


@dataclass
class ToolCall:
    name: str
    arguments: dict
    id: str = ""
    requestor: str = "assistant"


@dataclass
class Message:
    role: str
    content: str | None = None
    tool_calls: list[ToolCall] | None = None
    requestor: str = "assistant"
    error: bool = False
    cost: float | None = None
    usage: dict | None = None

    def is_tool_call(self):
        return self.tool_calls is not None

    def validate(self):
        if not (self.content or "").strip() and not self.is_tool_call():
            raise ValueError("a message without content")


class AssistantMessage(Message):
    pass


class UserMessage(Message):
    pass


@dataclass
class State:
    messages: list = field(default_factory=list)

    def model_copy(self, update):
        return replace(self, **update)


class Tool:
    def __init__(self, function):
        self.function, self.name = function, function.__name__
        order = {"type": "string", "title": "Order", "description": "Its number."}
        parameters = {"type": "object", "title": "parameters", "properties": {"order": order}, "required": ["order"]}
        described = {"name": self.name, "description": function.__doc__, "parameters": parameters}
        self.openai_schema = {"type": "function", "function": described}


class Environment:
    """A shop with one order, which its customer must confirm before it is cancelled."""

    def __init__(self, solo_mode=False):
        self.db = {"A1": "open"}

    def find(self, order):
        """Find an order."""
        return {"order": order, "state": self.db[order]}

    def cancel(self, order):
        """Cancel an order."""
        if self.db[order] != "confirmed":
            raise ValueError("not confirmed")
        self.db[order] = "cancelled"
        return "cancelled"

    def confirm(self, order):
        """Confirm that an order shall be cancelled."""
        self.db[order] = "confirmed"
        return "confirmed"

    def get_tools(self):
        return [Tool(self.find), Tool(self.cancel)]

    def get_user_tools(self, include=None):
        return [Tool(self.confirm)]

    def get_policy(self):
        return "Cancel what the customer has confirmed."

    def get_response(self, call):
        tools = self.get_user_tools() if call.requestor == "user" else self.get_tools()
        try:
            result = {tool.name: tool.function for tool in tools}[call.name](**call.arguments)
            return Message("tool", json.dumps(result), requestor=call.requestor)
        except Exception as error:
            return Message("tool", f"Error: {error}", requestor=call.requestor, error=True)


def generate(model, messages, tools=None, call_name=None, **options):
    """Ask an endpoint, as litellm does."""
    from openai import OpenAI

    client = OpenAI(base_url=options["api_base"], timeout=options["timeout"], max_retries=0)
    choice = client.chat.completions.create(model=model, messages=messages).choices[0].message
    calls = [ToolCall(c.function.name, json.loads(c.function.arguments), c.id) for c in choice.tool_calls or []]
    return AssistantMessage("assistant", choice.content, calls or None, usage={"total": 7})


class UserSimulator:
    def __init__(self, tools=None, instructions=None, llm=None, llm_args=None):
        self.instructions, self.llm, self.llm_args = instructions, llm, llm_args

    def set_seed(self, seed):
        self.llm_args = {**self.llm_args, "seed": seed}

    def get_init_state(self, message_history=None):
        return State()

    def generate_next_message(self, message, state):
        state.messages.append(message)
        swapped = {"assistant": "user", "user": "assistant", "tool": "user"}
        seen = [{"role": swapped[m.role], "content": m.content or "(a call)"} for m in state.messages]
        answer = generate(self.llm, [{"role": "system", "content": self.instructions}, *seen], **self.llm_args)
        calls = answer.tool_calls and [replace(call, requestor="user") for call in answer.tool_calls]
        reply = UserMessage("user", answer.content, calls, usage=answer.usage)
        state.messages.append(reply)
        return reply, state


class HalfDuplexAgent:
    def __init__(self, tools, domain_policy):
        self.tools, self.domain_policy = tools, domain_policy


class LLMAgent(HalfDuplexAgent):
    def __init__(self, tools, domain_policy, llm):
        super().__init__(tools, domain_policy)
        self.system_prompt = f"You serve customers. {domain_policy}"


class Orchestrator:
    def __init__(self, domain, agent, user, environment, task, max_steps, max_errors, seed):
        self.agent, self.user, self.environment, self.task = agent, user, environment, task
        self.max_steps, self.max_errors, self.seed = max_steps, max_errors, seed
        self.done, self.termination_reason, self.step_count, self.num_errors = False, None, 0, 0

    def initialize(self):
        if self.seed is not None:
            self.user.set_seed(self.seed)
        self.user_state, self.agent_state = self.user.get_init_state(), self.agent.get_init_state([])
        self.message = AssistantMessage("assistant", GREETING)
        self.trajectory, self.from_role, self.to_role = [self.message], Role.AGENT, Role.USER

    def step(self):
        sender = self.from_role
        if self.to_role is Role.ENV:
            results = [self.environment.get_response(call) for call in self.message.tool_calls]
            self.num_errors += sum(result.error for result in results)
            self.trajectory += results
            self.message, self.from_role, self.to_role = results[-1], Role.ENV, sender
        else:
            is_user = self.to_role is Role.USER
            actor, name = (self.user, "user_state") if is_user else (self.agent, "agent_state")
            self.message, state = actor.generate_next_message(self.message, getattr(self, name))
            setattr(self, name, state)
            self.trajectory.append(self.message)
            self.from_role = self.to_role
            self.to_role = Role.ENV if self.message.is_tool_call() else Role.AGENT if is_user else Role.USER
            if is_user and STOP in (self.message.content or ""):
                self.done, self.termination_reason = True, TerminationReason.USER_STOP
        self.step_count += 1

    def _check_termination(self):
        if self.to_role is not Role.ENV:
            if self.step_count >= self.max_steps:
                self.done, self.termination_reason = True, TerminationReason.MAX_STEPS
            if self.num_errors >= self.max_errors:
                self.done, self.termination_reason = True, TerminationReason.TOO_MANY_ERRORS

    def _finalize(self):
        return SimpleNamespace(messages=self.trajectory, termination_reason=self.termination_reason, reward_info=None)


def action(name, requestor="assistant"):
    return SimpleNamespace(name=name, requestor=requestor, arguments={"order": "A1"})


def load_tasks(domain, split):
    assertions = ["The agent is polite."] if domain == "retail" else None
    actions = [action("find"), action("confirm", "user"), action("cancel")]
    criteria = SimpleNamespace(actions=actions, communicate_info=["A1"], nl_assertions=assertions)
    names = load_task_splits(domain)[split] if split else load_task_splits(domain)["base"]
    return [SimpleNamespace(id=n, user_scenario=f"You are {n}.", evaluation_criteria=criteria) for n in names]


def load_task_splits(domain):
    names = [f"{domain} {i}" for i in range(6)]
    return {"train": names[:4], "test": names[4:], "base": names}


class RewardType(Enum):
    DB, COMMUNICATE, NL_ASSERTION = "DB", "COMMUNICATE", "NL_ASSERTION"


def evaluate_simulation(simulation, task, evaluation_type, solo_mode, domain):
    if simulation.termination_reason is not TerminationReason.USER_STOP:
        return SimpleNamespace(reward=0.0, reward_breakdown=None)
    environment = Environment()
    for message in simulation.messages:
        for call in message.tool_calls or []:
            environment.get_response(call)
    said = " ".join(m.content or "" for m in simulation.messages if isinstance(m, AssistantMessage))
    parts = {
        RewardType.DB: float(environment.db == {"A1": "cancelled"}),
        RewardType.COMMUNICATE: float(all(info in said for info in task.evaluation_criteria.communicate_info)),
    }
    if assertions := task.evaluation_criteria.nl_assertions:
        judged = sys.modules["tau2.evaluator.evaluator_nl_assertions"].generate(
            model="constant",
            messages=[
                {"role": "system", "content": "Judge."},
                {"role": "user", "content": f"expectedOutcomes: {assertions}"},
            ],
        )
        results = json.loads(judged.content)["results"]
        parts[RewardType.NL_ASSERTION] = float(all(result["metExpectation"] for result in results))
    return SimpleNamespace(reward=float(min(parts.values())), reward_breakdown=parts)


USERS = {}


def build_user(name, environment, task, llm, llm_args):
    return USERS[name](environment.get_user_tools(), str(task.user_scenario), llm, llm_args)


MODULES = {
    "tau2": {"__path__": []},
    "tau2.config": {
        "DEFAULT_LLM_USER": "gpt",
        "DEFAULT_LLM_ARGS_USER": {},
        "DEFAULT_LLM_NL_ASSERTIONS": "gpt",
        "DEFAULT_LLM_NL_ASSERTIONS_ARGS": {},
    },
    "tau2.agent.base_agent": {"HalfDuplexAgent": HalfDuplexAgent},
    "tau2.agent.llm_agent": {"LLMAgent": LLMAgent},
    "tau2.data_model.message": {
        "AssistantMessage": AssistantMessage,
        "ToolCall": ToolCall,
        "UserMessage": UserMessage,
    },
    "tau2.data_model.simulation": {"TerminationReason": TerminationReason},
    "tau2.evaluator.evaluator_nl_assertions": {"generate": generate},
    "tau2.evaluator.evaluator": {
        "EvaluationType": SimpleNamespace(ALL="all"),
        "evaluate_simulation": evaluate_simulation,
    },
    "tau2.orchestrator.orchestrator": {
        "DEFAULT_FIRST_AGENT_MESSAGE": AssistantMessage("assistant", GREETING),
        "Orchestrator": Orchestrator,
        "Role": Role,
    },
    "tau2.registry": {
        "registry": SimpleNamespace(
            get_env_constructor=lambda domain: Environment,
            register_user=lambda kind, name: USERS.update({name: kind}),
        )
    },
    "tau2.runner.build": {"build_user": build_user},
    "tau2.runner.helpers": {"load_task_splits": load_task_splits, "load_tasks": load_tasks},
    "tau2.user.user_simulator": {"UserSimulator": UserSimulator},
    "tau2.utils": {"DATA_DIR": Path(__file__)},
    "tau2.utils.llm_utils": {"extract_json_from_llm_response": lambda text: text.strip("`json\n")},
    "tau2.utils.utils": {"get_now": lambda: "now"},
    "loguru": {"logger": SimpleNamespace(disable=lambda name: None)},
    "litellm": {"client_session": None},
}


@contextmanager
def miniature():
    """Stands in the place of upstream."""
    modules = {}
    for name, content in MODULES.items():
        for parent in (name.rsplit(".", i)[0] for i in range(name.count("."), -1, -1)):
            modules.setdefault(parent, ModuleType(parent)).__path__ = []
        vars(modules[name]).update(content)
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    with mock.patch.dict(sys.modules, modules):
        yield
