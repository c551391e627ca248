"""What each mode leaves of a training preset's disturbances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from holosoma_jax.config import compose
from holosoma_jax.config.schema import Config, TermConfig
from holosoma_jax.envs.perturbations import apply_perturbations
from holosoma_jax.envs.terms import registry
from holosoma_jax.envs.terms.term import Randomization, RootVelocity
from holosoma_jax.envs.view import View
from holosoma_jax.evaluation import perturbations
from holosoma_jax.robots.robot import Robot

STARTS = {"randomize_dof_state", "randomize_root_state"}


@pytest.fixture(scope="module")
def g1() -> Config:
    return compose.load(["exp:g1-29dof"])


def term(cfg: Config, name: str) -> dict[str, Any]:
    """All parameters of the randomisation term of that name."""
    given = cfg.randomization.setup_terms[name]
    return registry.parameters("randomization", name, given.func, given.params)


def names(cfg: Config) -> set[str]:
    return {*cfg.randomization.setup_terms, *cfg.randomization.reset_terms}


def test_clean_leaves_nothing_but_how_episodes_start(g1: Config) -> None:
    clean = apply_perturbations(g1, perturbations.MODES["clean"])
    assert names(clean) == names(g1) & STARTS
    assert not any(group.enable_noise for group in clean.observation.groups.values())
    assert "penalty_curriculum" not in clean.curriculum.setup_terms


def test_train_like_changes_nothing_but_that_pushes_go_on(g1: Config) -> None:
    trained = apply_perturbations(g1, perturbations.MODES["train_like"])
    assert names(trained) == names(g1)
    assert trained.observation == g1.observation
    push = term(trained, "push_randomizer_state")
    assert push == term(g1, "push_randomizer_state") | {"in_evaluation": True}
    others = names(g1) - STARTS - {"push_randomizer_state"}
    assert all(term(trained, name) == term(g1, name) for name in others)


def test_stress_is_half_as_strong_again(g1: Config) -> None:
    stress = apply_perturbations(g1, perturbations.MODES["stress"])
    noise = {k: t.noise for k, t in stress.observation.groups["actor_obs"].terms.items()}
    assert noise["dof_vel"] == pytest.approx(1.5 * 0.1)
    push = term(stress, "push_randomizer_state")
    assert push["max_push_vel"] == (1.5, 1.5)
    assert push["push_interval_s"] == pytest.approx((5.0 / 1.5, 10.0 / 1.5))
    assert term(stress, "setup_action_delay_buffers")["ctrl_delay_step_range"] == (0, 2)
    # [0.5, 1.25] is 0.875 +- 0.375, so 1.5 times as wide: 0.875 +- 0.5625
    assert term(stress, "randomize_friction_startup")["friction_range"] == pytest.approx((0.3125, 1.4375))
    assert term(stress, "actuator_randomizer_state")["kp_range"] == pytest.approx((0.85, 1.15))
    assert term(stress, "randomize_base_com_startup")["base_com_range"]["x"] == pytest.approx((-0.075, 0.075))


def test_widening_keeps_friction_positive() -> None:
    t1 = compose.load(["exp:t1-29dof"])  # trained with friction in [0.1, 1.0]
    stress = apply_perturbations(t1, perturbations.MODES["stress"])
    low, high = term(stress, "randomize_friction_startup")["friction_range"]
    assert low == pytest.approx(0.05) and high == pytest.approx(1.225)


def test_a_disturbance_that_training_did_not_have_stays_off() -> None:
    calm = compose.load(
        ["exp:g1-29dof", "--randomization.setup-terms.push-randomizer-state.params.enabled=False"]
    )
    stress = apply_perturbations(calm, perturbations.MODES["stress"])
    assert not term(stress, "push_randomizer_state")["enabled"]
    assert not term(stress, "setup_torque_rfi")["enabled"]


@pytest.mark.parametrize("switch", ["noise", "pushes", "delay", "randomization"])
def test_each_switch_turns_on_its_own_disturbance(g1: Config, switch: str) -> None:
    cfg = apply_perturbations(g1, perturbations.from_mode("clean", **{switch: True}))
    physics = names(g1) - STARTS - {"push_randomizer_state", "setup_action_delay_buffers"}
    added = {
        "noise": set(),
        "pushes": {"push_randomizer_state"},
        "delay": {"setup_action_delay_buffers"},
        "randomization": physics,
    }[switch]
    assert names(cfg) - STARTS == added
    assert cfg.observation.groups["actor_obs"].enable_noise == (switch == "noise")


def test_none_leaves_a_switch_to_the_mode() -> None:
    chosen = perturbations.from_mode("train_like", noise=None, pushes=False)
    assert chosen == replace(perturbations.MODES["train_like"], pushes=False)


def heavier(key: object, robot: Robot, num_envs: int) -> object:
    """A randomisation term of a user's own."""
    raise AssertionError("not called when a config is changed")


def test_terms_of_a_user_are_model_randomisation(g1: Config) -> None:
    own = TermConfig(func=f"{__name__}:heavier")
    physics = replace(g1.randomization, setup_terms={**g1.randomization.setup_terms, "own": own})
    cfg = replace(g1, randomization=physics)
    assert apply_perturbations(cfg, perturbations.MODES["stress"]).randomization.setup_terms["own"] == own
    assert "own" not in apply_perturbations(cfg, perturbations.MODES["clean"]).randomization.setup_terms


@pytest.mark.parametrize("mode", perturbations.MODES)
@pytest.mark.parametrize("exp", ["g1-29dof", "t1-29dof", "k1-22dof"])
def test_every_mode_of_every_preset_is_a_valid_config(mode: perturbations.Mode, exp: str) -> None:
    cfg = apply_perturbations(compose.load([f"exp:{exp}"]), perturbations.MODES[mode])
    assert compose.from_mapping(compose.to_mapping(cfg)) == cfg


def test_pushes_of_a_user_are_pushes(g1: Config) -> None:
    own = TermConfig(func=f"{__name__}:shove", params={"max_speed": (1.0,)})
    physics = replace(g1.randomization, setup_terms={"own": own})
    cfg = replace(g1, randomization=physics)
    assert (
        "own"
        not in apply_perturbations(
            cfg, perturbations.from_mode("clean", delay=True)
        ).randomization.setup_terms
    )
    stress = apply_perturbations(cfg, perturbations.MODES["stress"])
    assert stress.randomization.setup_terms["own"].params["max_speed"] == (1.5,)


def shove(*, max_speed: tuple[float, ...]) -> Randomization:
    """Pushes of a user's own."""
    del max_speed

    def push(view: View, state: Any) -> tuple[RootVelocity, Any]:
        raise AssertionError("not called when a config is changed")

    return Randomization(push=push, disturbance="pushes")
