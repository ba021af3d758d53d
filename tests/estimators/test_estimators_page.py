"""The code of docs/estimators.md runs. PyOD is replaced by a class with what the adapter uses of its base class."""

import re
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "estimators.md").read_text("utf-8")
EXAMPLE, FILES, LATENTS, PYOD = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


class BaseDetector(ABC):
    """PyOD's `pyod.models.base.BaseDetector`: a contamination, and labels from scores of the training rows."""

    @abstractmethod
    def __init__(self, contamination: float = 0.1) -> None:
        self.contamination = contamination

    def _set_n_classes(self, y: object) -> None:
        self._classes = 2 if y is None else len(np.unique(np.asarray(y)))

    def _process_decision_scores(self: Any) -> None:
        self.threshold_ = np.percentile(self.decision_scores_, 100 * (1 - self.contamination))
        self.labels_ = (self.decision_scores_ > self.threshold_).astype(int)

    def predict(self: Any, rows: Any) -> Any:
        return (self.decision_function(rows) > self.threshold_).astype(int)


def shortened(code: str) -> str:
    """The same with less training."""
    return code.replace("random_state=0", "random_state=0, samples=2000")


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(shortened(EXAMPLE + FILES + LATENTS), names)
    assert names["labels"][1] == -1 and names["column"] == "price"
    assert np.array_equal(names["same"].score_samples(names["new"]), names["detector"].score_samples(names["new"]))
    assert names["latents"].shape == (400, 2) and list(names["decoded"]) == list(names["orders"])
    assert names["model"].predict(names["new"]).shape == (3,)


def test_the_adapter_is_a_detector_of_pyod(monkeypatch: pytest.MonkeyPatch) -> None:
    base = ModuleType("pyod.models.base")
    vars(base)["BaseDetector"] = BaseDetector
    for name, module in (
        ("pyod", ModuleType("pyod")),
        ("pyod.models", ModuleType("pyod.models")),
        (base.__name__, base),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    names: dict[str, Any] = {}
    exec(PYOD.replace("contamination=self.contamination", "contamination=self.contamination, samples=1000"), names)
    rows = np.random.default_rng(0).normal(size=(50, 2))
    detector = names["VaekitDetector"](contamination=0.1).fit(rows)
    assert detector.labels_.sum() == 5 and set(detector.labels_) == {0, 1}
    scores = detector.decision_function(np.array([[0.0, 0.0], [9.0, -9.0]]))
    assert scores[0] < scores[1] and detector.predict(np.array([[0.0, 0.0], [9.0, -9.0]])).tolist() == [0, 1]
