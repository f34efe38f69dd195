# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What the documentation of 0.1.0 named can be imported from where it was."""

from importlib import import_module

import pytest


NAMES = {
    "trl_infopo": "InfoPOConfig InfoPOTrainer evaluate policies",
    "trl_infopo.environments": (
        "BookingEnv ClarifyEnv CocodeEnv ENVIRONMENTS EnvironmentFamily FrozenLakeEnv GymnasiumEnv "
        "HelpdeskEnv SokobanEnv TextArenaEnv booking_dataset clarify_dataset clarify_oracle "
        "cocode_dataset cocode_oracle frozen_lake_dataset frozen_lake_oracle helpdesk_dataset "
        "helpdesk_oracle mastermind_oracle sokoban_dataset sokoban_oracle text_game_dataset"
    ),
    "trl_infopo.environments.cocode": (
        "CocodeEnv Limits Outcome SandboxError SandboxResult cocode_dataset cocode_oracle run_code sandbox_limitation"
    ),
    "trl_infopo.environments.explore": (
        "FrozenLakeEnv GAME_OVER GymnasiumEnv NOTHING_HAPPENS SokobanEnv TextArenaEnv TextArenaGame "
        "frozen_lake_dataset frozen_lake_oracle mastermind_oracle sokoban_dataset sokoban_oracle "
        "text_game_dataset"
    ),
    "trl_infopo.environments.helpdesk": "HelpdeskEnv KINDS POLICY helpdesk_dataset helpdesk_oracle",
    "trl_infopo.evaluation": "evaluate user_shift_table",
    "trl_infopo.fusion": "FusedAdvantages fuse_advantages normalize_information_gain",
    "trl_infopo.information_gain": "score_information_gain select_engine",
    "trl_infopo.policies": "ChatPolicy ModelPolicy PolicyError ScriptedPolicy",
    "trl_infopo.rollout": (
        "Episode MALFORMED_CALL StopReason TokenPolicy converse converses find_tools infer_stop_reason "
        "visible_messages"
    ),
    "trl_infopo.scripts.arguments": "check_fields parse_arguments",
    "trl_infopo.scripts.eval": "make_factories",
    "trl_infopo.turns": "segment_turns",
    "trl_infopo.users": (
        "ChatUser END_MARKER Fact LocalChatModel ModelUser NOTHING_TO_ADD PERSONAS PERSONA_PROMPT "
        "Scenario ScriptedUser Usage UserFactory UserSimulator UserSimulatorError"
    ),
    "trl_infopo.users.base": "encodable",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_of_the_first_version_are_where_they_were(module):
    missing = [name for name in NAMES[module].split() if not hasattr(import_module(module), name)]
    assert missing == []
