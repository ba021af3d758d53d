"""Exported halves give what the engine gives, in any size and batch, and nothing wrong gets a name."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

import jaxtyping
import onnx
import onnxruntime
import pytest
import torch
from family_examples import IMAGES
from refusals import lacks, refuses
from torch import Tensor, nn
from torch.export import ExportedProgram

import vaekit
from vaekit.distributions import DiagonalGaussian, Laplace
from vaekit.errors import CannotExport, CannotWrite, HalfMissing, MissingPackage
from vaekit.families import Config, assemble, family_of
from vaekit.families.approx.net import ApproxConfig
from vaekit.families.asymmetric.net import AsymmetricConfig
from vaekit.families.burgess.net import BurgessConfig
from vaekit.families.dcae.net import DCAEConfig
from vaekit.families.hunyuan_image.net import HunyuanImageConfig
from vaekit.families.joint.net import JointConfig
from vaekit.families.kl.net import KLConfig
from vaekit.families.tiny.net import TinyConfig
from vaekit.families.vq.net import VQConfig
from vaekit.families.wan.net import WanConfig
from vaekit.families.wan22.net import Wan22Config
from vaekit.normalization import LatentNormalization
from vaekit.runtime import export as exporting
from vaekit.runtime import onnx_graph as onnx_files
from vaekit.runtime.engine import Engine
from vaekit.runtime.export import Half
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE, Origin

KINDS = {"onnx": 1e-4, "torch.export": 1e-5}
KL = KLConfig(3, 4, 4, (8, 16), (8, 16), 1, 1, (), (), True, True, True, 4)
EXAMPLES: dict[str, Config] = IMAGES | {
    "kl": KL,
    "vq": VQConfig(**asdict(KL), codes=12),
    "tiny": TinyConfig(3, 4, (), (8, 8), (8, 8), (1, 1), (1, 1), True),
    "asymmetric": AsymmetricConfig(**asdict(KL) | {"decoder_widths": (8, 8), "mid_attention": False}),
    "approx": ApproxConfig(3, 4, (8,), (5, 3)),
    "burgess": BurgessConfig(1, 32, 8, 16, 4),
    "joint": JointConfig(1, 32, 8, 16, 4, (10,)),
    "wan": WanConfig(3, 4, (8, 16), (16, 8), 1, 1, (0,), True),
    "wan2.2": Wan22Config(3, 4, (8, 8), (8, 8), 1, 1, (0,), True, patch=2),
    "hunyuan-image": HunyuanImageConfig(3, 4, (32, 64), (64, 32), 1, 1),
    "dcae": DCAEConfig(
        *(3, 4, (8, 8), (8, 8), (1, 1), (1, 1), (1,), (1,), ((), (5,)), ((), (5,)), (0,)),
        *("conv", "interpolate", 4, (0,), "relu", True, True),
    ),
}
"""One config of each family, as small as can be: tracing a network takes seconds, whatever its weights."""
ALONE = {"vq": "encoder", "asymmetric": "decoder"}
"""Families of which one half is the very network of "kl"."""
DAILY = {("tiny", "onnx"), ("tiny", "torch.export")}
"""What `make test` exports; the other families go the same way, and take minutes."""
SIZES = ((1, 2, 7), (2, 4, 3), (3, 6, 2))
"""Items, rows and columns of latents; none is what the network was watched with."""


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks as they are outside of the test suite: annotations are not checked. Sizes that torch.export watches are
    symbols, and no `int`s."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def test_every_family_has_an_example() -> None:
    assert EXAMPLES.keys() == IMAGES.keys()


def example(family: str, config: Config | None = None) -> VAE:
    torch.manual_seed(0)
    return assemble(family_of(family), config or EXAMPLES[family]).eval()


def engine(vae: VAE) -> Engine:
    return Engine(vae, Plan(device="cpu"))


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def runner(kind: str, path: Path) -> Callable[[Tensor], Tensor]:
    """A file as a function."""
    if kind == "onnx":
        running = session(path)
        name = running.get_inputs()[0].name
        return lambda x: torch.from_numpy(running.run(None, {name: x.numpy()})[0])
    return torch.export.load(path).module()


def inputs(vae: VAE, half: str) -> list[Tensor]:
    """Latents or images of several sizes."""
    step = vae.config.geometry.factors[0] if half == "encoder" else 1
    channels = vae.config.geometry.channels if half == "encoder" else vae.config.geometry.latent_channels
    fixed = vae.config.geometry.latent_shape
    sizes = [(b, *fixed[1:]) for b, _, _ in SIZES] if fixed else SIZES
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(b, channels, step * i, step * j, generator=generator) * 2 - 1 for b, i, j in sizes]


Written = Callable[[str, str], dict[str, Path]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The files of a family's example, of those halves that are no other family's. Each network is watched only once,
    and each file written once: both take torch seconds."""

    @lru_cache
    def programs(family: str) -> Callable[[Half], ExportedProgram]:
        watched = exporting.program_of
        known: dict[str, ExportedProgram] = {}
        return lambda half: known.get(half.name) or known.setdefault(half.name, watched(half))

    @lru_cache
    def write(family: str, kind: str) -> dict[str, Path]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exporting, "program_of", programs(family))
            folder = tmp_path_factory.mktemp(family)
            return engine(example(family)).export(kind, folder, ALONE.get(family), verify=False)

    return write


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        pytest.param(family, kind, marks=() if (family, kind) in DAILY else pytest.mark.nightly)
        for family in EXAMPLES
        for kind in KINDS
    ],
)
def test_every_family_gives_what_the_engine_gives(family: str, kind: str, written: Written) -> None:
    paths = written(family, kind)
    ending = exporting.FORMATS[kind].ending
    assert {half: path.name for half, path in paths.items()} == {half: half + ending for half in paths}
    for half, path in paths.items():
        same_as_the_engine(example(family), half, runner(kind, path), KINDS[kind])


@torch.no_grad()
def same_as_the_engine(vae: VAE, half: str, run: Callable[[Tensor], Tensor], most: float) -> None:
    running = engine(vae)
    for x in inputs(vae, half):
        given = run(x)
        if half == "decoder":
            close(given, running.decode(x), most)
        else:
            close(given, vae.encoder(x), most)
            close(vae.to_posterior(given).mode, running.encode(x).mode, most)


def close(given: Tensor, expected: Tensor, most: float) -> None:
    assert given.shape == expected.shape
    assert float((given - expected).abs().max()) <= most * max(1.0, float(expected.abs().max()))


@pytest.fixture(scope="module")
def tiny() -> VAE:
    vae = example("tiny")
    vae.normalization, vae.origin = LatentNormalization((0.1,), (2.0,)), Origin("SD1 ('tiny' family)", str)
    return vae


@pytest.fixture(scope="module", params=KINDS)
def checked(request: pytest.FixtureRequest, tiny: VAE, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both halves of a tiny VAE, looked at by vaekit before they got their names."""
    return engine(tiny).export(request.param, tmp_path_factory.mktemp("checked"))


def told(path: Path) -> dict[str, str]:
    if path.suffix == ".onnx":
        return {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    files = {"vaekit.json": ""}
    torch.export.load(path, extra_files=files)
    return json.loads(files["vaekit.json"])


def test_a_file_tells_what_its_numbers_mean(checked: dict[str, Path], tiny: VAE) -> None:
    for half, path in checked.items():
        facts = told(path)
        assert json.loads(facts.pop("vaekit.config")) == json.loads(json.dumps(asdict(tiny.config)))
        assert json.loads(facts.pop("vaekit.normalization")) == {"shift": [0.1], "scale": [2.0], "patch": 1}
        posterior = {"vaekit.posterior": "Point"} if half == "encoder" else {}
        assert facts == posterior | {
            "vaekit.written_by": f"vaekit {vaekit.__version__}",
            "vaekit.half": half,
            "vaekit.input": "pixels" if half == "encoder" else "latents",
            "vaekit.output": "moments" if half == "encoder" else "pixels",
            "vaekit.network": "vaekit.families.tiny.net",
            "vaekit.family": "SD1 ('tiny' family)",
            "vaekit.factor": "2",
            "vaekit.latent_channels": "4",
            "vaekit.latents": "raw",
        }


def test_a_file_tells_nothing_of_the_machine(checked: dict[str, Path]) -> None:
    for path in checked.values():
        content = path.read_bytes()
        for place in (Path(vaekit.__file__).parent, Path(torch.__file__).parent, Path(__file__).parent, Path.home()):
            assert str(place).encode() not in content, place


def test_nothing_but_the_files_is_left(checked: dict[str, Path]) -> None:
    for path in checked.values():
        assert sorted(path.parent.iterdir()) == sorted(checked.values())


def test_onnx_names_inputs_outputs_and_sizes(written: Written) -> None:
    images, latents = ["batch", 3, "2*rows", "2*columns"], ["batch", 4, "rows", "columns"]
    expected = {"encoder": (("pixels", images), ("moments", latents))}
    expected["decoder"] = (("latents", latents), ("pixels", images))
    for half, path in written("tiny", "onnx").items():
        running = session(path)
        ends = (*running.get_inputs(), *running.get_outputs())
        assert tuple((end.name, end.shape) for end in ends) == expected[half]
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        assert not lacks(model.doc_string, "[-1, 1]", "4", "1/2")


@pytest.mark.nightly
def test_a_vae_of_one_image_size_has_only_the_batch_free(
    written: Written,
) -> None:
    paths = written("burgess", "onnx")
    assert session(paths["encoder"]).get_inputs()[0].shape == ["batch", 1, 32, 32]
    assert session(paths["decoder"]).get_inputs()[0].shape == ["batch", 4, 1, 1]


@torch.no_grad()
def test_one_position_is_enough_but_for_a_torch_encoder(checked: dict[str, Path], tiny: VAE) -> None:
    x, z = inputs(tiny, "encoder")[0][:, :, :2, :2], inputs(tiny, "decoder")[0][:, :, :1, :1]
    kind = "onnx" if checked["decoder"].suffix == ".onnx" else "torch.export"
    close(runner(kind, checked["decoder"])(z), tiny.decode(z), KINDS[kind])
    encode = runner(kind, checked["encoder"])
    if kind == "onnx":
        close(encode(x), tiny.encode(x).mode, KINDS[kind])
    else:
        with pytest.raises(AssertionError, match="Guard failed"):
            encode(x)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_what_reflects_at_the_border_has_two_positions_at_least(kind: str, tmp_path: Path) -> None:
    vae = example("kl", replace(KL, encoder_widths=(8,), decoder_widths=(8,), padding="reflect", mid_attention=False))
    path = engine(vae).export(kind, tmp_path, half="decoder")["decoder"]
    z = inputs(vae, "decoder")[0][:, :, :2, :2]
    close(runner(kind, path)(z), engine(vae).decode(z), KINDS[kind])


@pytest.mark.nightly
def test_attention_that_meets_nothing_does_not_divide_by_zero(tmp_path: Path) -> None:
    one = {"encoder_": ((8,), (1,), (0,), ((),)), "decoder_": ((8,), (1,), (0,), ((),))}
    fields = ("widths", "blocks", "attention", "scales")
    stage = {half + field: value for half, values in one.items() for field, value in zip(fields, values, strict=True)}
    vae = example("dcae", replace(EXAMPLES["dcae"], **stage, decoder_batch_norm=(), decoder_relu=()))
    for name, weight in vae.named_parameters():
        if ".attn.k." in name:
            nn.init.zeros_(weight)
    engine(vae).export("onnx", tmp_path, half="decoder")  # torch's own simplification drops what prevents it


@pytest.mark.nightly
def test_a_video_networks_file_holds_what_a_image_needs(written: Written) -> None:
    for path in written("wan", "onnx").values():
        assert max(len(tensor.dims) for tensor in onnx.load(path).graph.initializer) == 4
    assert any(weight.dim() == 5 for weight in example("wan").parameters())


@torch.no_grad()
def test_large_weights_lie_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vae = example("approx")
    monkeypatch.setattr(onnx_files, "LARGEST_FILE", 1000)
    (tmp_path / "decoder.onnx").write_text("old")
    (tmp_path / "decoder.onnx.data").write_text("old")
    path = engine(vae).export("onnx", tmp_path, half="decoder")["decoder"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["decoder.onnx", "decoder.onnx.data"]
    z = inputs(vae, "decoder")[0]
    close(runner("onnx", path)(z), engine(vae).decode(z), 1e-4)


@pytest.mark.nightly
@torch.no_grad()
def test_the_plan_and_the_vae_do_not_matter(tiny: VAE, tmp_path: Path) -> None:
    half = example("tiny").to(torch.bfloat16).train()
    path = Engine(half, Plan(device="cpu", dtype="bf16")).export("torch.export", tmp_path, half="decoder")["decoder"]
    assert half.training
    assert {weight.dtype for weight in half.parameters()} == {torch.bfloat16}
    z = inputs(tiny, "decoder")[0]
    close(runner("torch.export", path)(z), engine(half).decode(z), 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_gives_something_else_never_gets_its_name(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = exporting.FORMATS[kind]
    wrong = replace(form, open=lambda path: lambda x: form.open(path)(x) + 3 * form.tolerance)
    monkeypatch.setitem(exporting.FORMATS, kind, wrong)
    old = tmp_path / ("decoder" + form.ending)
    old.write_text("old")
    with refuses(CannotExport, "decoder"):
        engine(example("approx")).export(kind, tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    ("trouble", "error", "facts"),
    [
        (OSError(28, "No space left on device"), CannotWrite, ["No space left"]),
        (
            RuntimeError("unexpected pos 64 vs 0."),
            CannotExport,
            ["unexpected pos 64 vs 0"],
        ),
    ],
)
def test_a_file_that_cannot_be_written_is_told_in_words(
    trouble: Exception, error: type[Exception], facts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(program: object, told: object, path: Path) -> None:
        path.write_text("half of it")
        raise trouble

    form = exporting.FORMATS["torch.export"]
    monkeypatch.setitem(exporting.FORMATS, "torch.export", replace(form, write=fail))
    with refuses(error, *facts):
        engine(example("approx")).export("torch.export", tmp_path)
    monkeypatch.setitem(
        exporting.FORMATS, "torch.export", replace(form, write=lambda _, __, path: path.write_text("x"))
    )
    with refuses(CannotExport, "decoder"):
        engine(example("approx")).export("torch.export", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_gives_nan_is_not_compared(tmp_path: Path) -> None:
    vae = example("approx")
    nn.init.constant_(vae.decoder.conv1.weight, float("nan"))
    with pytest.raises(CannotExport):
        engine(vae).export("torch.export", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert engine(vae).export("torch.export", tmp_path, verify=False)["decoder"].exists()


class Moody(nn.Module):
    """A network that does one thing or another, as its numbers say."""

    config = EXAMPLES["tiny"]

    def forward(self, z: Tensor) -> Tensor:
        return z if z.mean() > 0 else -z


def test_a_network_that_decides_by_its_numbers_is_refused_in_words(tmp_path: Path) -> None:
    vae = VAE(None, DiagonalGaussian.from_moments, Moody(), Laplace).eval()
    with refuses(CannotExport, "decoder"):
        engine(vae).export("torch.export", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_cannot_be_exported(tiny: VAE, tmp_path: Path) -> None:
    with refuses(HalfMissing, "decoder"):
        engine(example("approx")).export("onnx", tmp_path, half="encoder")
    with refuses(ValueError, "tflite", "onnx", "torch.export"):
        engine(tiny).export("tflite", tmp_path)
    with refuses(ValueError, "both", "encoder", "decoder"):
        engine(tiny).export("onnx", tmp_path, half="both")


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_told_before_anything_is_done(
    package: str, tiny: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with refuses(MissingPackage, "pip install 'vaekit[onnx]'"):
        engine(tiny).export("onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_a_runtime_a_file_can_be_had_unchecked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert engine(example("approx")).export("onnx", tmp_path, verify=False)["decoder"].exists()
