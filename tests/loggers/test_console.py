from __future__ import annotations

import io
import math

from rich.console import Console

from holosoma_jax.learn.fast_sac import record as fast_sac
from holosoma_jax.learn.ppo import record as ppo
from holosoma_jax.loggers.console import ConsoleSink
from tests.support.messages import tells

SCALARS = {
    "Train/mean_reward": 12.345,
    "Train/mean_episode_length": 456.7,
    "Perf/total_fps": 12345.6,
    "Loss/KL": 0.0123,
    "Loss/actor_learning_rate": 3e-4,
    "Episode/rew_tracking_lin_vel": 1.25,
    "Episode/rew_penalty_orientation": -2.5,
}


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def sink(terminal: bool, clock=None, **kwargs) -> tuple[ConsoleSink, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, color_system=None, legacy_windows=False)
    kwargs = {"learner": ppo.LEARNER.console} | kwargs
    return ConsoleSink(10, console=console, clock=clock or Clock(), **kwargs), out


def test_without_a_terminal_one_line_per_write():
    clock = Clock()
    shown, out = sink(False, clock)
    shown.write(1, SCALARS)
    clock.now = 3.0
    shown.write(2, SCALARS | {"Train/mean_reward": 11.0})
    shown.close()
    same = ["length 457", "KL 0.0123", "lr 3.0e-04", "12,346 steps/s"]
    assert [line.split(" | ") for line in out.getvalue().splitlines()] == [
        ["iteration 1/10", "reward 12.35", "best 12.35", *same, "ETA ..."],
        ["iteration 2/10", "reward 11.00", "best 12.35", *same, "ETA 0:00:24"],
    ]


def test_an_off_policy_run_counts_steps_and_shows_its_own_losses():
    shown, out = sink(False, unit="step", learner=fast_sac.LEARNER.console)
    shown.write(5, {"Train/mean_reward": 1.0, "Loss/qf_loss": 2.25, "Loss/alpha_value": 0.0015})
    (line,) = out.getvalue().splitlines()
    losses = ["critic loss 2.250", "alpha 1.5e-03"]
    assert line.split(" | ") == ["step 5/10", "reward 1.00", "best 1.00", *losses, "ETA ..."]


def test_missing_and_non_finite_numbers_do_not_stop_it():
    shown, out = sink(False)
    shown.write(1, {})
    shown.write(2, {"Train/mean_reward": math.nan})
    assert out.getvalue().splitlines()[0] == "iteration 1/10 | ETA ..."
    assert "best" not in out.getvalue()


def test_eta_is_the_mean_time_of_the_latest_iterations():
    clock = Clock()
    shown, _ = sink(False, clock)
    assert shown.eta_s is None
    shown.write(2, {})
    clock.now = 8.0  # 2 s an iteration
    shown.write(6, {})
    assert shown.eta_s == 8.0


def test_terminal_shows_progress_numbers_and_reward_terms():
    clock = Clock()
    shown, out = sink(True, clock, title="run 7")
    shown.write(4, SCALARS)
    clock.now = 5.0
    shown.write(5, SCALARS | {"Train/mean_reward": 20.0})
    shown.note("Saved checkpoints/5")
    shown.close()
    text = out.getvalue()
    last = text[text.rindex("run 7") :]
    for part in ("iteration 5/10", "0:00:05 elapsed, 0:00:25 left", "mean reward", "20.00", "best so far",
                 "457 steps", "12,346 steps/s", "3.0e-04", "0.0123", "tracking_lin_vel", "+1.250"):  # fmt: skip
        assert part in last, part
    assert last.index("penalty_orientation") < last.index("tracking_lin_vel")  # the largest first
    assert "Saved checkpoints/5" in text
    assert max(len(line) for line in last.splitlines()) <= 101


def test_best_of_earlier_sessions_counts():
    shown, out = sink(False, completed=5, best=99.0)
    shown.write(6, SCALARS)
    assert "best 99.00" in out.getvalue()


def test_quiet_shows_notes_only():
    shown, out = sink(True, mode="quiet")
    shown.write(1, SCALARS)
    shown.note("WARNING: [x] stays as it is")
    shown.close()
    assert out.getvalue() == "WARNING: [x] stays as it is\n"


def test_the_summary_says_how_far_how_long_and_how_good():
    clock = Clock()
    shown, _ = sink(False, clock)
    clock.now = 3725.0
    assert shown.summary() == "Iteration 0 of 10 after 1:02:05."
    shown.write(4, SCALARS)
    assert tells(shown.summary(), "4 of 10 ... 1:02:05 ... 12.35")


def test_a_table_that_may_be_ended_any_moment_leaves_the_cursor():
    shown, out = sink(True)
    shown.write(1, SCALARS)
    hidden, visible = "\x1b[?25l", "\x1b[?25h"
    assert out.getvalue().rfind(hidden) > out.getvalue().rfind(visible)
    shown.stopping("Ctrl-C: stopping ...")
    assert "Ctrl-C: stopping ..." in out.getvalue()
    assert out.getvalue().rfind(visible) > out.getvalue().rfind(hidden)
    shown.close()
