"""TorchScript policies: what is refused before PyTorch sees it, and what runs."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holosoma_jax import robots
from holosoma_jax.config import extras
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.evaluation import PolicyArgs
from holosoma_jax.policy import policies
from holosoma_jax.policy.foreign import torchscript

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

STATED: dict[str, Any] = {"dof_names": list(robots.load("g1").joint_names)}


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, b"")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        policies.find(str(path), PolicyArgs(joint_order="mjcf"))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


def test_a_pickle_never_reaches_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(module: str) -> bool:
        raise AssertionError(f"asked for {module}")

    monkeypatch.setattr(torchscript, "is_installed", never)
    # what torch.save writes has a data.pkl and no code
    assert "not TorchScript" in refusal(archive(tmp_path / "a.pt", "a/data.pkl", "a/data/0", "a/version"))
    old = tmp_path / "old.pt"
    old.write_bytes(b"\x80\x02}q\x00.")
    assert "not TorchScript" in refusal(old)
    assert "no such file" in refusal(tmp_path / "absent.pt")


@pytest.mark.parametrize("call", ["ops.aten.save(x, '/tmp/a')", "torch.from_file('/tmp/a', True, 4)"])
def test_code_that_reaches_files_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(torchscript, "is_installed", lambda module: True)
    path = tmp_path / "p.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("p/code/__torch__.py", f"def forward(self, x):\n  y = {call}\n  return x\n")
        file.writestr("p/constants.pkl", b"")
    assert "reaches files" in refusal(path)


def test_without_pytorch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchscript, "is_installed", lambda module: False)
    path = archive(tmp_path / "p.JIT", "p/code/__torch__.py", "p/constants.pkl", "p/data.pkl")
    assert extras.pip_install("isaac") in refusal(path)


def test_a_scripted_policy_computes_what_its_module_does(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    layers = torch.nn.Sequential(torch.nn.Linear(100, 16), torch.nn.ELU(), torch.nn.Linear(16, 29))
    path = tmp_path / "policy.pt"
    torch.jit.script(layers).save(str(path))
    policy = torchscript.load(path, STATED)
    assert (policy.obs_dim, policy.action_dim) == (100, 29)
    rows = np.random.default_rng(0).standard_normal((5, 100)).astype(np.float32)
    with torch.no_grad():
        expected = layers(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(policy(rows), expected, rtol=1e-6, atol=1e-6)


def test_a_policy_with_a_memory_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Recurrent(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.actor = torch.nn.Linear(4, 29)
            self.register_buffer("hidden_state", torch.zeros(1, 1, 4))

        def forward(self, x):
            return self.actor(x + self.hidden_state[0])

    path = tmp_path / "lstm.pt"
    torch.jit.trace(Recurrent(), torch.zeros(1, 4)).save(str(path))
    assert "recurrent" in refusal(path)
