"""Mistakes that a term, a learner, a loss or a task of one's own is first written with: each is one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.protocol import PhysicsParams
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.task import Measure, Measurement, Task, guarded_task
from holosoma_jax.envs.terms import own, registry
from holosoma_jax.envs.terms.term import Command, Curriculum, Randomization, RootVelocity, Term, keep, lifted
from holosoma_jax.learn.own_learner import guarded_learner, guarded_loss
from holosoma_jax.learn.ppo.record import LEARNER as PPO
from tests.extensions.outside import policy_gradient

if TYPE_CHECKING:
    from holosoma_jax.envs.view import View as Hidden

HERE, FILE = __name__, __file__.rpartition("/")[2]
N = 4
KEY = jax.random.key(0)
SCENE = SimpleNamespace(num_envs=N)
VIEW = SimpleNamespace(height=jnp.ones(N), speed=jnp.ones((N, 3)), episode_step=jnp.zeros(N, jnp.int32))


def branches(view):
    return 1.0 if view.height[0] > 0.5 else 0.0


def with_numpy(view):
    return np.linalg.norm(view.speed, axis=-1)


def as_float(view):
    return float(view.height[0])


def misspelt(view):
    return view.heighd


def wrong_shapes(view):
    return view.speed @ jnp.ones(12)


def unfinished(view):
    raise RuntimeError("not done yet\nand more")


def nothing(view):
    jnp.sum(view.speed)


def value_and_state(view):
    return view.height, ()


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (branches, ("TracerBoolConversionError", "jnp.where", FILE)),
        (with_numpy, ("TracerArrayConversionError", "jax.numpy", FILE)),
        (as_float, ("ConcretizationTypeError", "float()", FILE)),
        (misspelt, ("AttributeError", "Did you mean 'height'", FILE)),
        (wrong_shapes, ("TypeError", "12", FILE)),
        (unfinished, ("RuntimeError", "not done yet", FILE)),
        (nothing, ("nothing", "wanted an array")),
        (value_and_state, ("tuple", "Term")),
    ],
)
def test_a_function_that_cannot_be_traced(function: Callable[..., Any], named: tuple[str, ...]) -> None:
    name = function.__name__
    term = registry.make("rewards", "mine", f"{HERE}:{name}", {})
    with pytest.raises(ConfigError) as error:
        jax.jit(lambda height, speed: term(SimpleNamespace(height=height, speed=speed)))(*VIEW_ARRAYS)
    for part in ("'mine'", name, *named):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


VIEW_ARRAYS = (VIEW.height, VIEW.speed)


def with_gain(view, gain):
    return gain * view.height


def with_default(view, gain=1.0):
    return gain * view.height


def other_params(view, *, height: float = 1.0):
    return view.height - height


def no_view():
    return 1.0


def of_nothing() -> Term:
    """Forgets to return it."""


def raising(*, gain: float = -1.0) -> Term:
    raise ValueError("gain must be positive")


def unknown_field() -> Term:
    return Term(apply=keep, rest=keep)  # type: ignore[call-arg]


def hidden_parameter(view, *, like: Hidden):
    return view.height


def misspelt_parameter(view, *, like: jnp.ndarry):  # type: ignore[name-defined]
    return view.height


def hidden_type(view: Hidden) -> jax.Array:
    return view.height


def per_body(key):
    return PhysicsParams()


class Callme:
    """No function."""

    def __call__(self, view):
        return view.height


INSTANCE = Callme()


@pytest.mark.parametrize(
    ("kind", "function", "params", "named"),
    [
        ("rewards", "with_gain", {}, ("view -> [E]", "'gain'", "`*, `")),
        ("rewards", "other_params", {"swing": 2.0}, ("rewards.mine.params.swing", "height", "null")),
        ("rewards", "other_params", {"heighd": None}, ("rewards.mine.params.heighd", "'height'")),
        ("rewards", "with_default", {"gain": 2.0}, ("rewards.mine.params.gain", "`*, `")),
        ("rewards", "no_view", {}, ("view -> [E]", "Term", "no annotation")),
        ("rewards", "of_nothing", {}, ("of_nothing", "NoneType", "Term")),
        ("rewards", "raising", {}, (f"{FILE}:", "gain must be positive")),
        ("rewards", "unknown_field", {}, (f"{FILE}:", "'rest'")),
        ("rewards", "hidden_parameter", {}, ("hidden_parameter", "'Hidden'", "TYPE_CHECKING")),
        ("rewards", "misspelt_parameter", {}, ("misspelt_parameter", "'ndarry'")),
        ("randomization", "per_body", {}, ("per_body", "key, robot, num_envs")),
        ("commands", "with_default", {}, ("Command", "positional")),
        ("rewards", "INSTANCE", {}, ("INSTANCE", "Callme")),
        ("rewards", "Callme", {}, ("Callme", "type")),
    ],
)
def test_a_function_that_is_no_term(kind: str, function: str, params: dict, named: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        registry.make(kind, "mine", f"{HERE}:{function}", params)
    for part in ("mine", *named):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def init(key, scene):
    return jnp.zeros(scene.num_envs)


def value_only() -> Term:
    return Term(init=init, apply=lambda view, s: view.height, reset=keep)


def without_draws() -> Term:
    return Term(init=init, draw=lambda key, scene: jnp.ones(N), apply=lambda view, s: (s, s), reset=keep)


def init_without_key() -> Term:
    return Term(init=lambda scene: jnp.zeros(N), apply=lambda view, s: (s, s), reset=keep)  # type: ignore[misc]


def vector_metric() -> Term:
    return Term(apply=lambda view, s: (view.height, s), metrics=lambda view, s: {"height": view.height})


def factor_per_robot() -> Curriculum:
    return Curriculum(init=init, update=lambda view, s: s, reward_scale=lambda s, tags: s)


def half_rows() -> Curriculum:
    return Curriculum(init=init, update=lambda view, s: s, spawn_row=lambda s: s)


def one_limit() -> Curriculum:
    return Curriculum(init=init, update=lambda view, s: s, command_ranges=lambda s: {"lin_vel_x": s})  # type: ignore


def only_a_pose() -> Command:
    return Command(init=init, reset=keep, update=lambda view, s: s, place=lambda view, m, pose, s: pose)


def no_mask() -> Command:
    return Command(init=init, reset=keep, update=lambda view, s: s, jump=lambda s: s)


def only_a_push() -> Randomization:
    def push(view, s):
        return RootVelocity(view.height > 0, view.speed, view.speed)

    return Randomization(push=push)


def push_of_arrays() -> Randomization:
    return Randomization(push=lambda view, s: (view.speed, s))


def masses() -> Randomization:
    return Randomization(startup=lambda key, scene: {"mass_ratio": 1.0})


def short_bias() -> Randomization:
    return Randomization(joint_bias=lambda s: jnp.zeros(29))


def mass_per_robot(key, robot, num_envs):
    return PhysicsParams(mass_ratio=jnp.ones(num_envs))


ZEROS = jnp.zeros(N)


@pytest.mark.parametrize(
    ("kind", "function", "field", "args", "named"),
    [
        ("rewards", "value_only", "apply", (VIEW, ZEROS), ("float32[4]", "value and the state")),
        ("rewards", "without_draws", "apply", (VIEW, ZEROS, ZEROS), ("view, state, draws",)),
        ("rewards", "init_without_key", "init", (KEY, SCENE), ("key, scene",)),
        ("rewards", "vector_metric", "metrics", (VIEW, ()), ("'height'", "(4,)")),
        ("curriculum", "factor_per_robot", "reward_scale", (ZEROS, ()), ("(4,)", "[]")),
        ("curriculum", "half_rows", "spawn_row", (ZEROS,), ("float32[4]", "int32")),
        ("curriculum", "one_limit", "command_ranges", (ZEROS,), ("(low, high)",)),
        ("commands", "only_a_pose", "place", (VIEW, ZEROS > 0, ZEROS, ZEROS), ("mask and the state",)),
        ("commands", "no_mask", "jump", (ZEROS,), ("float32[4]", "bool")),
        ("randomization", "only_a_push", "push", (VIEW, ()), ("RootVelocity", "push and the state")),
        ("randomization", "push_of_arrays", "push", (VIEW, ()), ("float32[4, 3]", "RootVelocity")),
        ("randomization", "short_bias", "joint_bias", ((),), ("float32[29]", "[E, J]")),
        ("randomization", "masses", "startup", (KEY, SCENE), ("dict", "PhysicsParams")),
    ],
)
def test_a_record_whose_function_is_not_as_called(
    kind: str, function: str, field: str, args: tuple[Any, ...], named: tuple[str, ...]
) -> None:
    record = registry.make(kind, "mine", f"{HERE}:{function}", {})
    with pytest.raises(ConfigError) as error:
        getattr(record, field)(*args)
    for part in ("'mine'", field, *named):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("record", [Term, Command, Curriculum, Randomization])
def test_no_function_of_a_record_is_left_out(record: type[Any]) -> None:
    functions = {field.name for field in fields(record) if str(field.type).startswith("Callable")}
    assert functions and functions <= set(own.FUNCTIONS)


def limits_as_lists() -> Curriculum:
    return Curriculum(
        init=init,
        update=lambda view, s: s,
        command_ranges=lambda s: {"lin_vel_x": [-1.0, 1.0]},  # type: ignore
    )


def constant() -> Term:
    return Term(apply=lambda view, s: [np.ones(N, np.float32), s])  # type: ignore[arg-type]


def good(*, gain: float = 2.0) -> Term:
    return Term(init=init, apply=lambda view, s: (gain * view.height, s + 1.0), reset=keep)


def test_masses_are_one_a_body() -> None:
    draw = registry.make("randomization", "mine", f"{HERE}:mass_per_robot", {})
    with pytest.raises(ConfigError, match=r"'mine' \(mass_per_robot\).*'mass_ratio'.*\[E, B\]"):
        draw(KEY, None, N)


def test_a_parameter_of_another_function_is_taken_out_by_null() -> None:
    term = registry.make("rewards", "mine", f"{HERE}:other_params", {"swing": None, "height": 0.5})
    assert lifted(term).apply(VIEW, ())[0].tolist() == 4 * [0.5]


def test_what_is_right_is_left_as_it_is() -> None:
    term = registry.make("rewards", "mine", f"{HERE}:good", {"gain": 3.0})
    value, state = lifted(term).apply(VIEW, ZEROS)
    assert value.tolist() == 4 * [3.0] and state.tolist() == 4 * [1.0]
    value, _ = lifted(registry.make("rewards", "mine", f"{HERE}:constant", {})).apply(VIEW, ())
    assert value.tolist() == 4 * [1.0]  # a list and NumPy's arrays do as well
    limits = registry.make("curriculum", "mine", f"{HERE}:limits_as_lists", {})
    assert limits.command_ranges(ZEROS) == {"lin_vel_x": [-1.0, 1.0]}
    typed = registry.make("rewards", "mine", f"{HERE}:hidden_type", {})
    assert lifted(typed).apply(VIEW, ())[0].tolist() == 4 * [1.0]
    built_in = registry.make("rewards", "alive", "", {})
    assert not hasattr(built_in, "__wrapped__")  # a defect of the package keeps its stack trace


def learner_with(**functions: Any) -> Any:
    return guarded_learner(replace(policy_gradient.LEARNER, **functions), "algo.name: 'mine'")


@pytest.mark.parametrize(
    ("functions", "args", "named"),
    [
        ({"act": lambda state, obs, key: ZEROS}, ({}, {}, KEY), ("act", "float32[4]", "extras")),
        ({"act": lambda state, obs, key: (ZEROS, {})}, ({}, {}, KEY), ("act", "dict", "NamedTuple")),
        ({"update": lambda state, batch, key, axis_name=None: state}, ({}, (), KEY), ("update", "metrics")),
        (
            {"update": lambda state, batch, key, axis_name=None: ({"w": state["w"] > 0}, {})},
            ({"w": ZEROS}, (), KEY),
            ("update", "bool[4]", "'w'", "float32[4]"),
        ),
        (
            {"update": lambda state, batch, key, axis_name=None: ({}, {})},
            ({"w": ZEROS}, (), KEY),
            ("update", "structure"),
        ),
        (
            {"update": lambda state, batch, key, axis_name=None: (state, {"Loss/x": state["w"]})},
            ({"w": ZEROS}, (), KEY),
            ("update", "'Loss/x'", "(4,)"),
        ),
        ({"mode": lambda state, obs: None}, ({}, ZEROS), ("mode", "nothing")),
    ],
)
def test_a_learner_whose_function_is_not_as_called(
    functions: dict[str, Any], args: tuple[Any, ...], named: tuple[str, ...]
) -> None:
    (name,) = functions
    with pytest.raises(ConfigError) as error:
        getattr(learner_with(**functions), name)(*args)
    for part in ("'mine'", *named):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("functions", "named"),
    [
        ({"update": lambda state, batch, key: (state, {})}, "update: .*axis_name"),
        ({"act": lambda state, obs: (ZEROS, ())}, "act: .*state, obs, key"),
    ],
)
def test_a_learner_that_cannot_be_called(functions: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=f"'mine': {named}"):
        learner_with(**functions)


def test_the_learners_of_the_package_are_not_guarded() -> None:
    assert guarded_learner(PPO, "algo.name: 'ppo'") is PPO


@pytest.mark.parametrize(
    ("loss", "named"),
    [
        (lambda params, minibatch, hyper, static: jnp.sum(params), ("float32[]", "metrics")),
        (lambda params, minibatch, hyper, static: (params, {}), ("(4,)", "mean")),
        (lambda params, minibatch, hyper, static: params.nothing, (f"{FILE}:", "'nothing'")),
    ],
)
def test_a_loss_that_is_none(loss: Callable[..., Any], named: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        guarded_loss(loss, "algo.loss: 'mine'")(ZEROS, None, None, None)
    for part in ("'mine'", *named):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("measured", "named"),
    [
        ({}, "speed"),
        ({"spede": Measurement(ZEROS, ZEROS)}, "speed"),
        ({"speed": ZEROS}, "Measurement"),
    ],
)
def test_a_task_that_does_not_measure_what_it_says(measured: dict[str, Any], named: str) -> None:
    task = Task("mine", lambda *_, **__: None, {"speed": Measure("speed", "m/s")}, lambda *_: measured)  # type: ignore
    task = guarded_task(task, "task: 'mine'")
    with pytest.raises(ConfigError, match=rf"'mine'.*measure.*{named}"):
        task.measure(None, None, None, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"'mine'.*build.*Env"):
        task.build(None, None, None, None)  # type: ignore[arg-type]
