"""The extension of A1111's web UI and Forge, with stand-ins for their modules and for gradio."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vaekit
from vaekit.checkpoints.save import save
from vaekit.families import assemble, family_with
from vaekit.families.kl.net import KLConfig
from vaekit.normalization import LatentNormalization

EXTENSION = Path(__file__).parents[3] / "integrations" / "webui"


class Element:
    """Any element of gradio; what a button does is kept."""

    clicks: ClassVar[list[Any]] = []

    def __init__(self, *_: Any, **settings: Any) -> None:
        self.settings = settings

    def __enter__(self) -> "Element":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def click(self, run: Any, **_: Any) -> None:
        self.clicks.append(run)


class Network(nn.Module):
    """A network of the web UI: weights by the names of CompVis' code, and a function."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.zeros(1))
        self.weights, self.calls = weights, 0

    def state_dict(self, *_: Any, **__: Any) -> Any:
        return self.weights

    def decode(self, z: Tensor) -> Tensor:
        self.calls += 1
        return torch.zeros(len(z), 3, 8 * z.shape[2], 8 * z.shape[3])


def weights_of(folder: Path, seed: int) -> dict[str, Tensor]:
    """A small VAE with SD1's structure, by the names of the web UI."""
    widths = (32, 32, 64, 64)
    family = family_with(config := KLConfig(3, 4, 4, widths, widths, 1, 2, (), (), True, True, True, 32))
    assert family is not None
    torch.manual_seed(seed)
    vae = assemble(family, config, normalization=LatentNormalization((0.0,), (0.18215,)))
    save(vae, folder / f"{seed}.safetensors", "ldm")
    from safetensors.torch import load_file

    return load_file(folder / f"{seed}.safetensors")


@pytest.fixture
def web_ui(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """What the extension registered: settings, what is called for a loaded model, and tabs."""
    found = SimpleNamespace(options=SimpleNamespace(), callbacks={})
    found.options.add_option = lambda name, info: setattr(found.options, name, info.default)
    register = {
        name: lambda run, name=name: found.callbacks.update({name: run})
        for name in ("on_ui_settings", "on_model_loaded", "on_ui_tabs")
    }
    modules = ModuleType("modules")
    vars(modules).update(
        script_callbacks=SimpleNamespace(**register),
        sd_vae=SimpleNamespace(vae_dict={"mine.safetensors": str(tmp_path / "1.safetensors")}),
        shared=SimpleNamespace(
            opts=found.options, OptionInfo=lambda default, *_, **__: SimpleNamespace(default=default)
        ),
    )
    gradio = ModuleType("gradio")
    names = ("Blocks", "Row", "Column", "Image", "Dropdown", "Button", "Markdown", "File")
    vars(gradio).update(dict.fromkeys(names, Element))
    monkeypatch.setitem(sys.modules, "modules", modules)
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    monkeypatch.syspath_prepend(str(EXTENSION))
    Element.clicks = []
    spec = importlib.util.spec_from_file_location("vaekit_vae", EXTENSION / "scripts" / "vaekit_vae.py")
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    found.callbacks["on_ui_settings"]()
    yield found
    for name in [name for name in sys.modules if name.startswith("vaekit_webui")]:
        del sys.modules[name]


@pytest.mark.parametrize("forge", [False, True])
def test_images_are_decoded_by_the_engine(web_ui: Any, tmp_path: Path, forge: bool) -> None:
    network = Network(weights_of(tmp_path, 1))
    own = SimpleNamespace(forge_objects=SimpleNamespace(vae=SimpleNamespace(first_stage_model=network)))
    model = own if forge else SimpleNamespace(first_stage_model=network)
    web_ui.callbacks["on_model_loaded"](model)
    web_ui.callbacks["on_model_loaded"](model)  # a second time, as for a model that is loaded again
    z = torch.randn(1, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    web_ui.options.vaekit_memory = "64MiB"
    expected = vaekit.Engine(vaekit.load(tmp_path / "1.safetensors"), vaekit.Plan(device="cpu")).decode(z)
    assert torch.allclose(network.decode(z), expected, atol=1e-4)
    assert network.decode(z.half()).dtype == torch.float16
    assert network.calls == 0
    network.weights = weights_of(tmp_path, 2)  # another VAE was chosen
    assert not torch.allclose(network.decode(z), expected, atol=1e-2)
    web_ui.options.vaekit_decode = False
    assert network.decode(z).abs().max() == 0 and network.calls == 1


def test_what_vaekit_cannot_run_is_decoded_by_the_web_ui(
    web_ui: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = Network({"unknown.weight": torch.zeros(2, 2)})
    web_ui.callbacks["on_model_loaded"](SimpleNamespace(first_stage_model=network))
    network.decode(torch.zeros(1, 4, 4, 4))
    assert network.calls == 1 and "does not know" in caplog.text
    network.weights = weights_of(tmp_path, 1)
    web_ui.options.vaekit_memory = "1MiB"
    network.decode(torch.zeros(1, 4, 32, 32))
    assert network.calls == 2 and "1 MiB" in caplog.text
    web_ui.options.vaekit_memory = "much"
    network.decode(torch.zeros(1, 4, 4, 4))
    assert network.calls == 3 and "much" in caplog.text


def test_the_tab_compares_vaes(web_ui: Any, tmp_path: Path) -> None:
    weights_of(tmp_path, 1)
    ((_, title, _),) = web_ui.callbacks["on_ui_tabs"]()
    assert title == "vaekit"
    (run,) = Element.clicks
    picture = Image.effect_noise((64, 64), 40).convert("RGB")
    text, page = run(picture, ["builtin", "mine.safetensors"])
    assert text.startswith("**builtin") and "**1" in text
    assert page is not None and Path(page).read_text("utf-8").startswith("<!doctype html>")
    assert run(None, ["builtin"]) == ("Choose an image and at least one VAE.", None)
    assert run(picture, []) == ("Choose an image and at least one VAE.", None)
