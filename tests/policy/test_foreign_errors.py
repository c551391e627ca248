"""What is wrong in another project's policy or beside it, or cannot be known of it, is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from holosoma_jax import robots
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.policy import policies
from tests.support.foreign_files import G1, Write, mjlab_metadata, separated


@pytest.mark.parametrize(
    "history",
    [
        {"observation_history": "[2]"},
        {"observation_history": '{"joint_pos": []}'},
        {"observation_history_lengths": "inf"},
        {"observation_history_lengths": "[[1]]"},
    ],
)
def test_a_history_that_is_no_number_of_frames_is_one_line(picking: Write, history: dict[str, str]) -> None:
    stated = mjlab_metadata(list(G1.joint_names)) | {"observation_names": "joint_pos"} | history
    with pytest.raises(ConfigError, match=r"policy\.onnx.*'joint_pos'") as caught:
        policies.find(str(picking(29, list(range(29)), **stated)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stated", "named"),
    [
        ({"observation_terms_clip": "-5.000;5.000"}, "'joint_pos'"),
        ({"observation_terms_clip": "-inf;5.000"}, "'joint_pos'"),
        ({"observation_terms_clip": "nan;inf"}, "'joint_pos'"),
        ({"observation_terms_scale": "1.000,2.000"}, "'observation_terms_scale'.* 1 terms"),
        ({"observation_terms_scale": "wide"}, "'joint_pos'"),
        ({"observation_terms_scale": "1.000;2.000"}, "'joint_pos'"),
        ({"observation_terms_history_length": "some"}, "'joint_pos'"),
    ],
)
def test_what_mjlab_says_of_a_term_is_checked(picking: Write, stated: dict[str, str], named: str) -> None:
    known = mjlab_metadata(list(G1.joint_names)) | {"observation_names": "joint_pos"} | stated
    with pytest.raises(ConfigError, match=named) as caught:
        policies.find(str(picking(29, list(range(29)), **known)))
    assert "\n" not in str(caught.value)


def test_names_of_observations_by_group_are_not_left_aside(picking: Write) -> None:
    """They were ignored, and the terms observed in the order of the robot's preset."""
    stated = mjlab_metadata(list(G1.joint_names)) | {"observation_names": '{"policy": ["joint_pos"]}'}
    with pytest.raises(ConfigError, match="observation_names"):
        policies.find(str(picking(29, list(range(29)), **stated)))
    stated["observation_names"] = '"joint_pos"'
    assert policies.find(str(picking(29, list(range(29)), **stated))).adapt(G1).kp.shape == (29,)


def test_deep_metadata_is_an_error_only_where_it_matters(picking: Write) -> None:
    stated = mjlab_metadata(list(G1.joint_names)) | {"observation_names": "joint_pos"}
    deep = "[" * 100_000
    file = picking(29, list(range(29)), **stated, notes=deep, observation_history='{"joint_pos": null}')
    assert policies.find(str(file)).adapt(G1).kp.shape == (29,)
    with pytest.raises(ConfigError, match="'kp'"):
        policies.find(str(picking(29, list(range(29)), **stated, kp=deep)))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"kpp": 1.0}, "unknown key 'kpp'"),
        ([1, 2], "got list"),
        ({"joint_order": "sdk"}, "got 'sdk'"),
        ({"joint_order": "mjcf", "joint_names": ["a"]}, "joint_order and joint_names"),
        ({"joint_order": "mjcf", "observation_names": ["joint_pos", "smell"]}, "'smell'"),
        (
            {"joint_order": "mjcf", "observation_names": ["joint_pos"], "observation_scales": [1, 2]},
            "2 entries",
        ),
        ({"joint_order": "mjcf", "observation_names": ["joint_pos"], "observation_scales": "x"}, "'x'"),
        ({"joint_order": "mjcf", "observation_names": ["gyro"], "observation_scales": [{"a": 1}]}, "'gyro'"),
        ({"joint_order": "mjcf", "kp": 1e300}, "'kp'"),
        ({"joint_order": "mjcf", "kp": -1.0}, "'kp' has the entry -1.0"),
        ({"joint_order": "mjcf", "control_dt": 0.013}, "0.013 s"),
        ({"joint_ids_map": [0, 1]}, "deploy.yaml"),
        ({"joint_ids_map": [float("inf")]}, "deploy.yaml"),
        ("kp: !!bool maybe", "cannot be read"),
        ("kp: !!int x", "cannot be read"),
        ("[" * 5000, "cannot be read"),
        ("#" * 2_000_000, "2 MB"),
    ],
)
def test_what_is_wrong_beside_a_file_is_one_line(picking: Write, content: Any, expected: str) -> None:
    file = picking(29, list(range(29)))
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    file.with_suffix(".yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        policies.find(str(file))
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_no_other_python_value_is_made_of_a_yaml_file(picking: Write) -> None:
    file = picking(29, list(range(29)))
    file.with_suffix(".yaml").write_text("kp: !!python/object/apply:os.getcwd []")
    with pytest.raises(ConfigError, match=r"os\.getcwd"):
        policies.find(str(file))


def test_a_robot_of_ones_own_is_named(picking: Write, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for item in G1.mjcf.parent.glob("*.*"):
        (folder / item.name).write_bytes(item.read_bytes())
    record = folder / "robot.yaml"
    model = folder / G1.mjcf.name
    for path in (record, model):
        path.write_text(path.read_text().replace("left_knee_joint", "left_servo"))
    mine = robots.load(str(folder))
    stated = mjlab_metadata(list(G1.joint_names)) | {"observation_names": "joint_pos"}
    file = picking(29, list(range(29)), **stated | {"joint_names": separated(mine.joint_names)})
    with pytest.raises(ConfigError, match=r"--robot\.asset"):
        policies.find(str(file))
    source = policies.find(str(file), asset=str(folder))
    assert source.config.config["robot"]["asset"] == str(folder)
    assert source.adapt(mine).kp.shape == (29,)
