"""Plain and averaged weights in one file: what is taken, what is said, and what can be chosen."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from family_examples import EXAMPLES
from ldm_names import ldm_names
from refusals import refuses
from safetensors.torch import save_file
from shapes_of_configs import layouts_for
from torch import Tensor
from vae_fixtures import random_vae

import vaekit
from vaekit.checkpoints.save import save
from vaekit.errors import BadPlan, NotFound
from vaekit.families import family_of
from vaekit.identification.identify import identify
from vaekit.identification.weight_sets import EMA, PLAIN, Selection
from vaekit.identification.weights import weights_of
from vaekit.vae import VAE

Weights = dict[str, Tensor]


@pytest.fixture
def plain(kl_vae: VAE) -> Weights:
    return ldm_names(kl_vae)


@pytest.fixture
def ema(plain: Weights) -> Weights:
    return {name: tensor + 1 for name, tensor in plain.items()}


def under(prefix: str, tensors: Weights) -> Weights:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def dotless(tensors: Weights) -> Weights:
    """As LDM's LitEma registers its buffers."""
    return {name.replace(".", ""): tensor for name, tensor in tensors.items()} | {"decay": torch.tensor(0.9)}


DICTIONARIES: dict[str, tuple[Callable[[Weights, Weights], Any], str]] = {
    "model and model_ema": (lambda p, e: {"model": p, "model_ema": e, "epoch": 3}, EMA),
    "state_dict and ema_state_dict": (lambda p, e: {"state_dict": p, "ema_state_dict": e}, EMA),
    "vae and ema": (lambda p, e: {"vae": p, "ema": e}, PLAIN),
    "params and params_ema": (lambda p, e: {"params": p, "params_ema": e}, EMA),
    "DeepSpeed": (lambda p, e: {"module": p, "ema": e, "ds_config": {}}, EMA),
    "averages in a wrapper": (lambda p, e: {"model": p, "ema": {"module": under("module.", e)}}, EMA),
    "a callback of Lightning": (
        lambda p, e: {"state_dict": p, "callbacks": {"EMACallback{'decay': 1}": {"ema_state_dict": e}}},
        PLAIN,
    ),
    "SWA of Lightning": (
        lambda p, e: {"state_dict": p, "callbacks": {"StochasticWeightAveraging": {"average_model_state": e}}},
        PLAIN,
    ),
    "WeightAveraging of Lightning": (lambda p, e: {"state_dict": e, "current_model_state": p}, EMA),
    "LitEma in a dictionary": (lambda p, e: {"state_dict": p, "ema": dotless(e)}, PLAIN),
    "a list": (lambda p, e: {"model": p, "ema": {"decay": 0.9, "shadow_params": list(e.values())}}, PLAIN),
    "averages without the frozen tensors": (
        lambda p, e: {"model": p, "ema": {name: tensor for name, tensor in e.items() if "quant" not in name}},
        PLAIN,
    ),
}
PREFIXES: dict[str, tuple[Callable[[Weights, Weights], Weights], str]] = {
    "LDM": (lambda p, e: p | under("model_ema.", dotless(e)), PLAIN),
    "LDM in a module": (lambda p, e: under("vae.", p) | under("model_ema.", dotless(under("vae.", e))), PLAIN),
    "model and model_ema": (lambda p, e: under("model.", p) | under("model_ema.", e), PLAIN),
    "none and ema": (lambda p, e: p | under("ema.", e) | {"ema.decay": torch.tensor(0.9)}, PLAIN),
    "module and ema": (lambda p, e: under("module.", p) | under("ema.", e), PLAIN),
    "ema-pytorch": (lambda p, e: under("online_model.", p) | under("ema_model.", e), PLAIN),
    "AveragedModel": (
        lambda p, e: under("net.", p) | under("swa.module.", e) | {"swa.n_averaged": torch.tensor(3)},
        PLAIN,
    ),
    "without a parent": (
        lambda p, e: under("module.", e) | p | {"n_averaged": torch.tensor(3)},
        PLAIN,
    ),
    "averages of each half": (
        lambda p, e: (
            p | {re.sub("^(encoder|decoder|quant_conv|post_quant_conv)", r"\1_ema", k): v for k, v in e.items()}
        ),
        PLAIN,
    ),
    "averages inside the path": (lambda p, e: under("net.vae.", p) | under("net.ema_vae.", e), PLAIN),
    "underscores for dots": (
        lambda p, e: p | {f"ema.{name.replace('.', '_')}": tensor for name, tensor in e.items()},
        PLAIN,
    ),
    "wrapped averages": (lambda p, e: under("vae.", p) | under("ema._orig_mod.", e), PLAIN),
}


def check(path: Path, plain: Weights, ema: Weights, default: str) -> None:
    """Each choice gives its weights, and the selection states what was taken and what else there is."""
    for choice, kind in ((None, default), (EMA, EMA), (PLAIN, PLAIN)):
        identified = identify(path, choice)
        (part,) = identified.parts
        selection = identified.selection
        assert selection is not None
        assert (selection.kind, [other.kind for other in selection.others]) == (kind, [PLAIN if kind == EMA else EMA])
        assert selection.others[0].name in selection.text
        assert f"--weights {selection.others[0].kind}" in selection.text
        expected = ema if kind == EMA else plain
        read = part.file.read(part.names.values())
        wrong = [name for name in expected if not torch.equal(read[part.prefix + name], expected[name])]
        frozen = ["quant" in name for name in wrong] if selection.tensors < selection.of else []
        assert len(frozen) == len(wrong) and all(frozen)
        assert bool(part.chosen) == (kind != default)


@pytest.mark.parametrize("form", DICTIONARIES)
def test_dictionaries_of_a_checkpoint(tmp_path: Path, plain: Weights, ema: Weights, form: str) -> None:
    content, default = DICTIONARIES[form]
    torch.save(content(plain, ema), tmp_path / "x.pt")
    check(tmp_path / "x.pt", plain, ema, default)


@pytest.mark.parametrize("form", PREFIXES)
@pytest.mark.parametrize("ending", ["safetensors", pytest.param("ckpt", marks=pytest.mark.nightly)])
def test_prefixes_in_one_dictionary(tmp_path: Path, plain: Weights, ema: Weights, form: str, ending: str) -> None:
    tensors, default = PREFIXES[form][0](plain, ema), PREFIXES[form][1]
    path = tmp_path / f"x.{ending}"
    if ending == "ckpt":
        torch.save({"state_dict": tensors}, path)
    else:
        save_file(tensors, path)
    check(path, plain, ema, default)


def test_one_set_needs_no_words_unless_it_is_an_average(tmp_path: Path, plain: Weights) -> None:
    torch.save({"model": plain, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}, tmp_path / "plain.pt")
    torch.save({"ema_state_dict": plain}, tmp_path / "ema.pt")
    assert identify(tmp_path / "plain.pt").selection is None
    assert identify(tmp_path / "plain.pt", PLAIN).selection is None
    selection = identify(tmp_path / "ema.pt").selection
    assert selection == identify(tmp_path / "ema.pt", EMA).selection
    assert selection is not None
    assert (selection.taken, selection.kind, selection.others) == ("ema_state_dict", EMA, ())


@pytest.mark.parametrize(("name", "choice"), [("model", EMA), ("ema_state_dict", PLAIN)])
def test_what_is_not_there_is_refused_and_the_error_names_what_is(
    tmp_path: Path, plain: Weights, name: str, choice: str
) -> None:
    torch.save({name: plain}, tmp_path / "x.pt")
    with refuses(NotFound, name, f"--weights {choice}"):
        identify(tmp_path / "x.pt", choice)


def test_averages_of_another_network_do_not_count(tmp_path: Path, plain: Weights) -> None:
    unet = {f"diffusion_modelinput_blocks{i}0weight": torch.ones(2) for i in range(20)}
    save_file(under("first_stage_model.", plain) | under("model_ema.", unet), tmp_path / "x.safetensors")
    assert identify(tmp_path / "x.safetensors").selection is None
    torch.save({"state_dict": plain, "ema_state_dict": {"net.weight": torch.ones(2)}}, tmp_path / "x.pt")
    assert identify(tmp_path / "x.pt").selection is None


def test_a_file_of_vaekit_holds_one_set(tmp_path: Path, kl_vae: VAE) -> None:
    save(kl_vae, tmp_path / "x.safetensors")
    assert identify(tmp_path / "x.safetensors").selection is None
    with refuses(NotFound, "ema"):
        identify(tmp_path / "x.safetensors", EMA)


def test_another_word_is_refused(tmp_path: Path, plain: Weights) -> None:
    save_file(plain, tmp_path / "x.safetensors")
    with refuses(BadPlan, "average", "ema", "plain"):
        vaekit.load(tmp_path / "x.safetensors", weights="average")


def test_the_choice_reaches_the_vae_and_the_caches(tmp_path: Path, plain: Weights, ema: Weights) -> None:
    torch.save({"model": plain, "model_ema": ema}, tmp_path / "x.pt")
    loaded = {kind: vaekit.load(tmp_path / "x.pt", weights=kind, padding="zeros") for kind in (None, EMA, PLAIN)}
    first = {kind: next(iter(vae.parameters())) for kind, vae in loaded.items()}
    assert torch.equal(first[None], first[EMA])
    assert torch.equal(first[EMA], first[PLAIN] + 1)
    assert all(vae.origin and "model_ema" in vae.origin.note for vae in loaded.values())
    prints = {kind: vaekit.inspect(tmp_path / "x.pt", weights=kind, measure=False) for kind in (EMA, PLAIN)}
    assert prints[EMA].fingerprint != prints[PLAIN].fingerprint
    assert (prints[EMA].sha256 is None, prints[PLAIN].sha256) == (False, None)
    assert isinstance(prints[PLAIN].selection, Selection)


@pytest.mark.nightly
@pytest.mark.parametrize("family", EXAMPLES)
def test_every_layout_of_every_family(tmp_path: Path, family: str) -> None:
    """Also where tensors are stored fused: their averages are under one name, too."""
    config = EXAMPLES[family]
    vae = random_vae(config, None)
    for layout in layouts_for(config):
        pieces = weights_of(vae, family_of(family), config).pieces(layout)
        plain = {piece.name: piece.tensor().clone() for piece in pieces}
        ema = {name: tensor + 1 for name, tensor in plain.items()}
        forms = [plain | under("model_ema.", dotless(ema))]
        forms += [under("model.", plain) | under("ema.", ema)] if layout.any_prefix else []
        save_file(plain, tmp_path / "plain.safetensors")
        names = identify(tmp_path / "plain.safetensors").parts[0].names
        for tensors in forms:
            save_file(tensors, tmp_path / "x.safetensors")
            (part,) = identify(tmp_path / "x.safetensors", EMA).parts
            (other,) = identify(tmp_path / "x.safetensors", PLAIN).parts
            one, two = (each.file.read(each.names.values()) for each in (part, other))
            assert part.names.keys() == names.keys()
            assert all(torch.equal(one[part.names[key]], two[other.names[key]] + 1) for key in names)
