# Run `./just RECIPE`: it makes .venv first. With a `just` of your own, run `./just setup` once.

set positional-arguments

export PATH := justfile_directory() / ".venv/bin" + ":" + env("PATH")

# Tests keep one core busy each, compiling; each file stays in one process, for the programs it shares, in the
# order of tests/conftest.py: the longest first.
two := "-n 2 --dist loadfile --no-loadscope-reorder"

# list the recipes
default:
    @just --list --unsorted

# install the project; with EXTRAS (e.g. `warp,cuda12`) those too
setup EXTRAS="":
    @[ -z "$1" ] || python -m pip install --quiet --constraint constraints.txt --editable ".[$1]"
    @python -c "import holosoma_jax, sys; print('holosoma_jax', holosoma_jax.__version__, 'on Python', sys.version.split()[0], 'in', sys.prefix)"

# train; without arguments the G1 on this machine's CPU, in about a quarter of an hour
train *ARGS:
    @[ $# -gt 0 ] || set -- exp:g1-29dof-fast-sac-cpu; python -m holosoma_jax.train "$@"

# open the viewer on a robot with a pretrained policy, which you steer; ARGS are those of eval
[no-exit-message]
play NAME="g1-29dof" *ARGS:
    @name=$1; shift; python -m holosoma_jax.eval --checkpoint "pretrained:$name" --training.headless False "$@"

# the fast tests
test *ARGS:
    python -m pytest {{ two }} -m "not slow and not gpu and not isaaclab" "$@"

# the slow tests
test-slow *ARGS:
    python -m pytest {{ two }} -m "slow and not gpu and not isaaclab" "$@"

# every test this machine can run, compiled as for users; those of Isaac Lab where it is installed
test-all *ARGS:
    JAX_DISABLE_MOST_OPTIMIZATIONS=0 python -m pytest "$@"

# every benchmark that has a peer, one after the other, into logs/benchmarks.json; on a quiet machine
bench *ARGS:
    python -m benchmarks.all "$@"

# train every preset briefly, and fail where one learns less than its recorded floor; sized for an hour on two cores
nightly *ARGS:
    python -m benchmarks.nightly "$@"

# Of what Isaac Lab asks for, the worker loads none of these: 2.3 GB.
unused := "open3d triton transformers tokenizers numba llvmlite plotly dash pin-pink pin libpinocchio coal libcoal eigenpy cmeel-assimp cmeel-boost cmeel-octomap cmeel-qhull"

# make .venv-isaaclab, where simulator:isaacsim runs: Python 3.12, 5.5 GB, five to fifteen minutes
isaaclab PYTHON="python3.12":
    @"$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null || { echo "just isaaclab: $1 is not a Python 3.12; name one: ./just isaaclab /path/to/python3.12" >&2; exit 1; }
    @[ -x .venv-isaaclab/bin/python ] || "$1" -m venv .venv-isaaclab
    .venv-isaaclab/bin/python -m pip install --quiet $(python -c "from bridges.isaacsim import install; print(install.PACKAGE)")
    @.venv-isaaclab/bin/python -m pip uninstall --quiet --yes {{ unused }}

# the tests that need Isaac Lab; about half an hour on two cores
test-isaaclab *ARGS:
    JAX_DISABLE_MOST_OPTIMIZATIONS=0 python -m pytest tests/isaacsim -m isaaclab "$@"

# format, lint, types, spelling
check:
    ruff format --check
    ruff check
    pyright
    codespell

# fix what `check` can fix by itself
fix:
    ruff check --fix
    ruff format
