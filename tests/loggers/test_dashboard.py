"""The live table: what it shows, and that it fits the terminal."""

from __future__ import annotations

import io
import math
import re

import pytest
from rich.console import Console

from holosoma_jax.learn.ppo.record import LEARNER
from holosoma_jax.loggers import dashboard
from holosoma_jax.loggers.dashboard import View, sparkline, speed, split_of
from tests.loggers.test_console import SCALARS, sink

TIMES = {"Perf/collection_time": 0.8, "Perf/learning_time": 0.2, "Perf/physics_time": 0.5}
MANY = {f"Episode/rew_term_number_{i}": (-1) ** i * 0.1 * i for i in range(20)}
LOSSES = dict.fromkeys(("Loss/Value", "Loss/Surrogate", "Loss/Entropy", "Policy/mean_noise_std"), 0.5)


def view(width: int, height: int, **scalars: float) -> View:
    everything = SCALARS | TIMES | scalars
    return View(
        "logs/run",
        "iteration",
        3,
        10,
        61.0,
        3661.0,
        20.0,
        [1.0, 2.0, 3.0],
        everything,
        LEARNER.console,
        width,
        height,
    )


def shown(view: View) -> list[str]:
    """The table's lines, without colours."""
    out = io.StringIO()
    console = Console(file=out, width=view.width, height=view.height, color_system=None, legacy_windows=False)
    console.print(dashboard.render(view))
    return out.getvalue().splitlines()


def test_time_splits_into_physics_environment_and_learning():
    split = split_of(TIMES)
    assert split == pytest.approx({"physics": 0.5, "environment": 0.3, "learning": 0.2})
    assert split_of({"Perf/collection_time": 0.8}) == {"collection": 0.8}  # one program: physics is inside
    assert split_of({}) == {}
    assert split_of(TIMES | {"Perf/learning_time": math.nan}) == pytest.approx(
        {"physics": 0.5, "environment": 0.3}
    )


def test_the_speed_line_says_the_split_and_fits():
    line = speed(SCALARS | TIMES, 100)
    assert line is not None
    assert "12,346 steps/s" in line.plain
    assert "physics 50%  environment 30%  learning 20%" in line.plain
    assert line.plain.count("━") == dashboard.SPLIT_BAR
    narrow = speed(SCALARS | TIMES, 70)
    assert narrow is not None and len(narrow) <= 70 and "learning 20%" in narrow.plain
    assert speed(SCALARS, 100).plain == "12,346 steps/s"  # pyright: ignore
    assert speed({}, 100) is None


def test_a_trend_goes_from_the_smallest_to_the_largest():
    assert sparkline([0.0, 7.0, 3.5]) == "▁█▅"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([math.nan, 1.0, math.inf, 2.0]) == "▁█"
    assert sparkline([]) == ""


@pytest.mark.parametrize("width", [80, 100, 111, 112, 160])
@pytest.mark.parametrize("height", [20, 24, 40])
def test_it_fits_every_terminal(width: int, height: int):
    lines = shown(view(width, height, **MANY, **LOSSES))
    assert max(map(len, lines)) <= width
    assert len(lines) < height
    text = "\n".join(lines)
    for part in (
        "iteration 3/10",
        "0:01:01 elapsed, 1:01:01 left",
        "mean reward",
        "best so far",
        "physics 50%",
    ):
        assert part in text
    assert re.search(r"term_number_19 +-1\.900 ", text)
    assert "more" in text  # 22 terms never fit


def test_terms_are_sorted_by_size_with_bars_to_scale():
    lines = [line for line in shown(view(120, 40)) if "▪" in line]
    assert [line.count("▪") for line in lines] == [dashboard.TERM_BAR, dashboard.TERM_BAR // 2]
    assert "penalty_orientation  -2.500" in lines[0] and "tracking_lin_vel" in lines[1]


def test_terms_that_are_not_numbers_do_not_stop_it():
    assert any("nan" in line for line in shown(view(120, 40, **{"Episode/rew_odd": math.nan})))


def test_a_plain_line_says_the_split_too():
    made, out = sink(False)
    made.write(1, SCALARS | TIMES)
    assert "12,346 steps/s (physics 50%, environment 30%, learning 20%)" in out.getvalue()
