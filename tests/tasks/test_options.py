"""Options become plans and models."""

import subprocess
import sys

import pytest

from vaekit.errors import BadPlan, NotFound
from vaekit.runtime.plan import Plan
from vaekit.tasks.options import EngineOptions, ModelOptions


def test_the_defaults_are_those_of_a_plan() -> None:
    assert EngineOptions().plan() == Plan()
    plan = EngineOptions("bf16", "cpu", "2GiB", "torch", 3).plan()
    assert plan == Plan(device="cpu", dtype="bf16", batch_size=3, memory="2GiB", backend="torch")


def test_values_that_do_not_exist_are_refused() -> None:
    with pytest.raises(BadPlan):
        EngineOptions(dtype="int3").plan()
    with pytest.raises(NotFound):
        ModelOptions("no-such-vae").load()


def test_the_padding_reaches_the_vae() -> None:
    assert getattr(ModelOptions(padding="reflect").load().config, "padding") == "reflect"  # noqa: B009


def test_the_module_imports_no_torch() -> None:
    code = "import sys, vaekit.tasks.options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
