"""TorchScript policies: what is refused before PyTorch sees it, and what runs."""

from __future__ import annotations

import importlib
import io
import pathlib
import pickle
import sys
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
from holosoma_jax.policy.foreign import torchscript, torchscript_weights

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


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch is there, and must not see the file."""
    monkeypatch.setattr(torchscript, "is_installed", lambda module: True)
    monkeypatch.setitem(sys.modules, "torch", None)


def scripted(path: Path, forward: str = "return x", name: str = "p/code/__torch__.py", **more: bytes) -> Path:
    """An archive of one function; `more` are its other files, by names with '__' for '/'."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, f"def forward(self, x):\n  {forward}\n")
        for inner in ("constants.pkl", "data.pkl"):
            file.writestr(f"p/{inner}", more.pop(inner.replace(".", "_"), pickle.dumps((), protocol=2)))
        for inner, content in more.items():
            file.writestr(inner.replace("__", "/").replace("_", "."), content)
    return path


@pytest.mark.parametrize(
    ("forward", "says"),
    [
        ("y = ops.aten.save(x, '/tmp/a')", "reaches files"),
        ("y = torch.from_file('/tmp/a', True, 4)", "reaches files"),
        ("while True:\n    x = x + 1", "may run for ever"),
        ("for i in range(9223372036854775807):\n    x = x + 1", "may run for ever"),
        ("print(x)", "writes to the terminal"),
        ("print  (x)", "writes to the terminal"),
        ("y : __torch__.torch.classes.a.B = x", "not TorchScript"),
    ],
)
def test_code_that_no_policy_needs_is_not_loaded(tmp_path: Path, never_loaded, forward: str, says: str):
    assert says in refusal(scripted(tmp_path / "p.pt", forward))
    # PyTorch's reader of ZIP files takes names in any case
    assert says in refusal(scripted(tmp_path / "q.pt", forward, "p/CODE/__torch__.PY", p__code__a_py=b""))


def test_what_pytorch_would_read_otherwise_is_not_loaded(tmp_path: Path, never_loaded) -> None:
    assert "damaged" in refusal(scripted(tmp_path / "a.pt", p__CODE____torch___PY=b"", p__model_json=b"{}"))
    assert "damaged" in refusal(scripted(tmp_path / "b.pt", q__data_pkl=b""))
    with zipfile.ZipFile(scripted(tmp_path / "c.pt"), "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("p/data/0", bytes(1_000_000))
    assert "100 times" in refusal(tmp_path / "c.pt")
    # in front of an archive, another one: Python reads the last, PyTorch may read the first
    loops, plain = (scripted(tmp_path / f"{n}.pt", body) for n, body in (("l", "while True: x"), ("p", "x")))
    plain.write_bytes(loops.read_bytes() + plain.read_bytes())
    with zipfile.ZipFile(io.BytesIO(torchscript.checked(plain))) as copy:
        assert b"while" not in b"".join(map(copy.read, copy.namelist()))


class Tensor:
    """Pickles as PyTorch writes a tensor."""

    def __init__(self, numel: int = 6, offset: int = 0, size=(2, 3), stride=(3, 1)):
        self.storage, self.rest = numel, (offset, size, stride, False)


class _Torch(pickle._Pickler):  # type: ignore[name-defined]  # writes names of modules that are not there
    def save(self, obj: Any, *rest: Any) -> None:
        if isinstance(obj, Tensor):
            self.write(b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n")
            for value in ("0", "cpu", obj.storage):
                super().save(value)
            self.write(b"tQ")
            for value in obj.rest:
                super().save(value)
            self.write(b"tR")
        else:
            super().save(obj, *rest)


def pickled(value: Any) -> bytes:
    out = io.BytesIO()
    _Torch(out, protocol=2).dump(value)
    return out.getvalue()


@pytest.mark.parametrize(
    ("tensor", "size", "says"),
    [
        (Tensor(), 0, "claims 6"),
        (Tensor(), 23, "claims 6"),
        (Tensor(), 28, "claims 6"),
        (Tensor(-6), 24, "claims -6"),
        (Tensor(1 << 62), 24, "claims"),
        (Tensor(offset=1), 24, "reaches beyond"),
        (Tensor(offset=-1), 24, "negative"),
        (Tensor(size=(3, 3)), 24, "reaches beyond"),
        (Tensor(size=(2, -3)), 24, "negative"),
        (Tensor(stride=(1 << 40, 1)), 24, "reaches beyond"),
        (Tensor(stride=(1,)), 24, "no shape"),
        (print, 24, "no policy needs"),
        (pathlib.PurePosixPath("a"), 24, "no policy needs"),
    ],
)
def test_tensors_beyond_the_bytes_of_the_archive_are_refused(
    tmp_path: Path, never_loaded, tensor: Any, size: int, says: str
) -> None:
    """PyTorch 2.13 reads what lies behind them in memory, or ends the process."""
    path = scripted(tmp_path / "p.pt", data_pkl=pickled([tensor]), p__data__0=bytes(size))
    assert says in refusal(path)
    path = scripted(tmp_path / "q.pt", constants_pkl=pickled((tensor,)), p__constants__0=bytes(size))
    assert says in refusal(path)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        # a number in place of the kind is PyTorch's own, of 8 bytes
        ({"p/data.pkl": pickled([Tensor()]).replace(b"ctorch\nFloatStorage\n", b"K\x04")}, "claims 6"),
        ({"p/DATA.PKL": pickled([Tensor(7)])}, "claims 7"),
        ({"P/Constants.pkl": pickled([Tensor(7)])}, "claims 7"),
        ({"p/data.pkl": pickled([Tensor(-1, size=(0,), stride=(1,))])}, "claims -1"),
        ({"p/data.pkl": b"\x80\x02Nr\xff\xff\xff\x03."}, "memo of 67108863"),
        ({"p/constants.pkl": b"\x80\x02K\x00" + 200_000 * b"\x85" + b"."}, "10000 operations"),
    ],
)
def test_pickles_that_pytorch_reads_otherwise_are_refused(files: dict[str, bytes], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        torchscript_weights.check({"p/data/0": bytes(24), **files})
    torchscript_weights.check({"p/data/0": bytes(24), "P/data.pkl": pickled([Tensor()])})


def test_a_damaged_compression_is_one_line(tmp_path: Path, never_loaded) -> None:
    noise = np.random.default_rng(0).bytes(3000)
    with zipfile.ZipFile(tmp_path / "p.pt", "w", zipfile.ZIP_LZMA) as file:
        file.writestr("p/code/a.py", noise)
    data = bytearray((tmp_path / "p.pt").read_bytes())
    data[60:300] = noise[:240]
    (tmp_path / "p.pt").write_bytes(data)
    assert "checkpoint" in refusal(tmp_path / "p.pt")


def test_tensors_within_the_bytes_of_the_archive_are_taken(tmp_path: Path) -> None:
    held = [Tensor(), Tensor(offset=5, size=(), stride=()), Tensor(size=(0, 9), stride=(9, 1))]
    path = scripted(tmp_path / "p.pt", data_pkl=pickled(held), p__data__0=bytes(24))
    with zipfile.ZipFile(path) as given, zipfile.ZipFile(io.BytesIO(torchscript.checked(path))) as copy:
        assert {n: given.read(n) for n in given.namelist()} == {n: copy.read(n) for n in copy.namelist()}


def test_without_pytorch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchscript, "is_installed", lambda module: False)
    path = scripted(tmp_path / "p.JIT")
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


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("self.calls += 1\n        return y * self.calls", "something else every time"),
        ("return y + torch.rand(29)", "something else every time"),
        ("return y - y.mean(0, keepdim=True)", "depends on the others"),
        ("return y, y", "fails"),
        ("return y[0]", "wanted finite float32"),
        ("return y.double()", "wanted finite float32"),
        ("return y * float('nan')", "wanted finite float32"),
        ("return y + torch.zeros([1152921504606846976]).sum()", "fails"),
    ],
)
def test_what_is_no_policy_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, says: str):
    torch = pytest.importorskip("torch")
    (tmp_path / "net_of_test.py").write_text(
        "import torch\n\n\nclass Net(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.actor, self.calls = torch.nn.Linear(4, 29), 0\n\n    def forward(self, x):\n"
        f"        y = self.actor(x)\n        {body}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "net_of_test", raising=False)
    net = importlib.import_module("net_of_test").Net()
    path = tmp_path / "p.pt"
    torch.jit.script(net).save(str(path))
    assert says in refusal(path)


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


def test_code_that_ends_pytorch_is_one_line(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    good, bad = tmp_path / "policy.pt", tmp_path / "nested.pt"
    torch.jit.script(torch.nn.Sequential(torch.nn.Linear(4, 2))).save(str(good))
    depth = 200_000
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(".py") and b"return" in content:
                content = content.replace(b"return ", b"return " + b"(" * depth, 1)
            target.writestr(name, content)
    assert "SIGSEGV" in refusal(bad)
