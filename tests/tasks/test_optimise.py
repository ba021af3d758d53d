"""`tasks.optimise`: a planted optimum, bounds, what is measured, functions of the user, and bad input."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from planted_rows import DECODER, save_planted
from refusals import refuses
from torch import Tensor

from vaekit.checkpoints.save import save
from vaekit.distributions import Normal
from vaekit.domains.images.properties import brightness
from vaekit.domains.images.read import read_image
from vaekit.domains.text.schema import TextSchema
from vaekit.errors import BadPlan, CannotWrite, HalfMissing, NotFound, VaekitError
from vaekit.families import assemble, family_with
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.nets.likelihoods import TokensPart
from vaekit.nets.priors import MixturePart
from vaekit.nets.sequence import SequenceConfig
from vaekit.runtime.engine import Engine
from vaekit.tasks.encoded_data import encoded
from vaekit.tasks.latent_reference import references
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.optimise import optimise
from vaekit.tasks.optimised import OptimiseOptions
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.vae import VAE, Origin

ROWS = [[12.0, 0.5, "yes"], [8.0, -0.25, "no"], [10.0, 0.0, "no"]]
FUNCTIONS = """
def first(rows): return [float(row["height"]) for row in rows]
def rounded(rows): return [round(float(row["height"])) for row in rows]
def undefined(rows): return [float("nan")] * len(rows)
def too_few(rows): return [1.0]
def fails(rows): raise KeyError("no such column")
def length(sentences): return [len(each) for each in sentences]
def mean(images): return [image.mean() for image in images]
"""
UP = OptimiseOptions("height", within=1.0, density=0.0, steps=50)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> OpenModel:
    """A VAE of rows with a linear decoder."""
    path = save_planted(tmp_path_factory.mktemp("planted") / "vae.safetensors")
    return open_model(ModelOptions(str(path)), EngineOptions(device="cpu"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write(tmp_path / "rows.csv", ROWS)


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The name of a module in the current folder."""
    monkeypatch.chdir(tmp_path)
    name = f"properties_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(FUNCTIONS)
    return name


def write(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([["height", "width", "ripe"], *rows])
    return path


def numbers(path: Path, column: int = 0) -> list[float]:
    with open(path, newline="") as file:
        return [float(row[column]) for row in list(csv.reader(file))[1:]]


def latents(path: Path) -> Tensor:
    x = torch.tensor([[(numbers(path)[i] - 10) / 2, numbers(path, 1)[i] / 0.5] for i in range(len(ROWS))])
    return x @ torch.linalg.inv(DECODER[:2]).T


def test_the_optimum_of_a_linear_decoder_on_a_ball(rows: OpenModel, table: Path, tmp_path: Path) -> None:
    """A column of the decoder with |w| = 1 increases by its standard deviation for each of latent space."""
    result = optimise(rows, [table], tmp_path / "out", UP)
    (file,) = result.batch.results
    assert (result.method, result.goal, file.output) == ("gradient", "as high as possible", tmp_path / "out/rows.csv")
    assert numbers(file.output) == pytest.approx([row[0] + 2.0 for row in ROWS], abs=1e-4)
    shift = latents(file.output) - latents(table)
    torch.testing.assert_close(shift, DECODER[:1].expand(3, 2), rtol=0, atol=1e-3)
    for item, row in zip(file.items, ROWS, strict=True):
        assert item.before == pytest.approx(row[0]) and item.reconstruction == pytest.approx(row[0])
        assert item.after == pytest.approx(row[0] + 2, abs=1e-4) == item.confirmed
        assert item.moved == pytest.approx(1.0) and item.active == ("distance",)
    assert [item.name for item in file.items] == ["rows.csv:2", "rows.csv:3", "rows.csv:4"]


@pytest.mark.parametrize("options", [replace(UP, property="-height"), replace(UP, minimise=True)])
def test_properties_are_minimised(rows: OpenModel, table: Path, tmp_path: Path, options: OptimiseOptions) -> None:
    (file,) = optimise(rows, [table], tmp_path / "out", options).batch.results
    assert numbers(file.output) == pytest.approx([row[0] - 2.0 for row in ROWS], abs=1e-4)


def test_a_target_is_met_where_it_is_within_reach(rows: OpenModel, table: Path, tmp_path: Path) -> None:
    result = optimise(rows, [table], tmp_path / "out", replace(UP, property="column:height", target=11.0))
    assert result.goal == "close to 11" and [bool(each.active) for each in result.batch.results[0].items] == [
        False,
        True,
        False,
    ]
    assert numbers(tmp_path / "out" / "rows.csv") == pytest.approx([11.0, 10.0, 11.0], abs=1e-3)


def test_the_probability_of_a_value(rows: OpenModel, table: Path, tmp_path: Path) -> None:
    """The walk increases a probability; the measured value is that of the written rows."""
    (file,) = optimise(rows, [table], tmp_path / "out", replace(UP, property="ripe=no", within=3.0)).batch.results
    assert [item.before for item in file.items] == [0.0, 1.0, 1.0]
    assert [item.after for item in file.items] == [1.0, 1.0, 1.0]


def test_latents_stay_as_dense_as_asked(rows: OpenModel, table: Path, tmp_path: Path) -> None:
    """|z|^2 of N(0, I) in two dimensions has the quantile -2 log(q) for the density that a share q does not reach."""
    options = replace(UP, within=50.0, density=0.1)
    (file,) = optimise(rows, [table], tmp_path / "out", options).batch.results
    assert all(item.active == ("density",) for item in file.items)
    least = references(rows, None)((2,)).least_density(0.1, 0)
    bound = -2 * (least + math.log(2 * math.pi))
    assert bound == pytest.approx(-2 * math.log(0.1), rel=0.1)
    z = latents(file.output)
    assert (z.square().sum(dim=1) <= bound * (1 + 1e-4)).all()
    torch.testing.assert_close(z, math.sqrt(bound) * DECODER[:1].expand(3, 2), rtol=0, atol=2e-2)
    outlier = write(tmp_path / "outlier.csv", [[30.0, 0.0, "no"]])
    (file,) = optimise(rows, [outlier], tmp_path / "out", options).batch.results
    assert file.items[0].after == pytest.approx(30, abs=1e-2) and file.items[0].active == ("density",)


@pytest.mark.parametrize("method", ["gradient", "cma-es"])
def test_latents_stay_as_dense_under_a_learned_prior(table: Path, tmp_path: Path, method: str) -> None:
    path = save_planted(tmp_path / "mixture.safetensors", MixturePart(4))
    mixture = open_model(ModelOptions(str(path)), EngineOptions(device="cpu"))
    options = replace(UP, within=20.0, density=0.3, steps=12, method=method)
    (file,) = optimise(mixture, [table], tmp_path / "out", options).batch.results
    prior = mixture.engine.vae.prior
    assert prior is not None and "trained" in file.reference
    least = references(mixture, None)((2,)).least_density(0.3, 0)
    starts, ends = prior.log_prob(latents(table)), prior.log_prob(latents(file.output))
    assert (ends >= starts.clamp(max=least) - 1e-2).all()
    assert all(item.after > item.reconstruction for item in file.items)


def test_halves_are_refused(rows: OpenModel, table: Path, tmp_path: Path) -> None:
    alone = replace(rows, engine=Engine(VAE(rows.engine.vae.encoder, rows.engine.vae.to_posterior, None, Normal)))
    with pytest.raises(HalfMissing):
        optimise(alone, [table], tmp_path / "out", UP)


def test_cma_es_comes_close_to_the_gradient_and_follows_the_seed(rows: OpenModel, table: Path, tmp_path: Path) -> None:
    options = replace(UP, method="cma-es")
    outputs = []
    for number, seed in enumerate((0, 0, 1)):
        (file,) = optimise(rows, [table], tmp_path / str(number), replace(options, seed=seed)).batch.results
        assert numbers(file.output) == pytest.approx([row[0] + 2.0 for row in ROWS], abs=0.02)
        assert all(item.moved <= 1 + 1e-6 for item in file.items)
        outputs.append(file.output.read_bytes())
    assert outputs[0] == outputs[1] != outputs[2]


def test_a_function_of_the_user(rows: OpenModel, table: Path, functions: str, tmp_path: Path) -> None:
    result = optimise(rows, [table], tmp_path / "out", replace(UP, property=f"-{functions}:rounded"))
    (file,) = result.batch.results
    assert result.method == "cma-es" and [item.before for item in file.items] == [12, 8, 10]
    assert [item.after for item in file.items] == [round(each) for each in numbers(file.output)] == [10, 6, 8]
    record = json.loads(result.record.read_text("utf-8"))
    assert len(record["function"]) == 64 and record["property"] == f"-{functions}:rounded"
    assert [item["after"] for item in record["results"][0]["items"]] == [10, 6, 8]


@pytest.mark.parametrize(
    ("function", "error"),
    [("too_few", BadPlan), ("fails", BadPlan), ("absent", NotFound)],
)
def test_functions_that_do_not_fit_are_refused(
    rows: OpenModel, table: Path, functions: str, tmp_path: Path, function: str, error: type[VaekitError]
) -> None:
    options = replace(UP, property=f"{functions}:{function}", steps=2)
    if error is NotFound:
        with pytest.raises(NotFound):
            optimise(rows, [table], tmp_path / "out", options)
    else:
        (failure,) = optimise(rows, [table], tmp_path / "out", options).batch.failures
        assert function in failure.error


def test_values_that_are_never_finite_are_refused(rows: OpenModel, table: Path, functions: str, tmp_path: Path) -> None:
    batch = optimise(rows, [table], tmp_path / "out", replace(UP, property=f"{functions}:undefined", steps=2)).batch
    assert len(batch.failures) == 1 and not (tmp_path / "out" / "rows.csv").exists()


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        (replace(UP, property="hieght"), NotFound, "height"),
        (replace(UP, property="ripe"), NotFound, "ripe=yes"),
        (replace(UP, property="ripe=maybe"), NotFound, "ripe=no"),
        (replace(UP, property="brightness"), NotFound, "width"),
        (replace(UP, property="no_such_module_anywhere:f"), NotFound, "no_such_module_anywhere"),
        (replace(UP, property=""), NotFound, "height"),
        (replace(UP, method="adam"), BadPlan, "adam"),
        (replace(UP, steps=0), BadPlan, "0"),
        (replace(UP, within=0.0), BadPlan, "0"),
        (replace(UP, within=math.nan), BadPlan, "nan"),
        (replace(UP, within=math.inf), BadPlan, "inf"),
        (replace(UP, density=1.0), BadPlan, "1"),
        (replace(UP, target=math.inf), BadPlan, "inf"),
        (replace(UP, target=1.0, minimise=True), BadPlan, "height"),
        (replace(UP, property="json:dumps", method="gradient"), BadPlan, "cma-es"),
        (replace(UP, path=-1), BadPlan, "-1"),
    ],
)
def test_bad_options_are_refused(
    rows: OpenModel, table: Path, tmp_path: Path, options: OptimiseOptions, error: type[VaekitError], named: str
) -> None:
    with refuses(error, named):
        optimise(rows, [table], tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_inputs_are_not_overwritten_and_bad_files_do_not_stop_others(
    rows: OpenModel, table: Path, tmp_path: Path
) -> None:
    with pytest.raises(CannotWrite):
        optimise(rows, [table], tmp_path, UP)
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    batch = optimise(rows, [other, table], tmp_path / "out", UP).batch
    assert [Path(each.path).name for each in batch.failures] == ["other.csv"] and len(batch.results) == 1


def test_paths_and_pairs_are_written(rows: OpenModel, table: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    (file,) = optimise(
        rows, [table], tmp_path / "out", replace(UP, path=3), True, lambda *each: calls.append(each)
    ).batch.results
    assert calls[-1] == (50, 50) and calls == sorted(calls)
    names = ["rows-0001.path.csv", "rows-0002.path.csv", "rows-0003.path.csv"]
    assert [path.name for path in file.paths] == names and file.side_by_side is not None
    assert numbers(file.paths[1]) == pytest.approx([8.0, 8.5, 9.0, 9.5, 10.0], abs=1e-3)
    assert numbers(file.side_by_side, 0) == [row[0] for row in ROWS]


def test_images_become_brighter(model: OpenModel, images: Path, tmp_path: Path) -> None:
    """Of an untrained VAE, whose latents have the standard deviation 2 by its normalization."""
    (images / "broken.png").unlink()
    options = OptimiseOptions("brightness", within=4.0, steps=15)
    result = optimise(model, [images], tmp_path / "out", options)
    assert [file.output.name for file in result.batch.results] == ["0.png", "1.png"]
    for file in result.batch.results:
        (item,) = file.items
        assert item.after > item.reconstruction + 1 and 0 < item.moved <= 4 + 1e-4
        assert item.after == pytest.approx(brightness(read_image(file.output).pixels).item())
        assert item.before == pytest.approx(brightness(read_image(file.source).pixels).item())
        assert "normal" in file.reference or "Gaussian" in file.reference


def test_data_define_the_unit(model: OpenModel, images: Path, tmp_path: Path) -> None:
    options = OptimiseOptions("-detail", within=0.5, steps=4, data=images, path=1)
    (file,) = optimise(model, [images / "0.png"], tmp_path / "out", options).batch.results
    assert "data" in file.reference and file.items[0].after < file.items[0].reconstruction
    assert [path.name for path in file.paths] == ["0.path.png", "0.path.webp"]
    std = references(model, images)((4, 14, 16)).std
    z, _ = encoded(model, images)
    torch.testing.assert_close(std, z.transpose(0, 1).flatten(1).std(dim=1)[:, None, None].expand(4, 14, 16))


def test_a_function_of_images(model: OpenModel, images: Path, functions: str, tmp_path: Path) -> None:
    options = OptimiseOptions(f"{functions}:mean", steps=3, within=2.0)
    (file,) = optimise(model, [images / "0.png"], tmp_path / "out", options).batch.results
    assert file.items[0].after > file.items[0].reconstruction


def test_sentences_follow_a_function(functions: str, tmp_path: Path) -> None:
    """Of an untrained VAE: whatever it writes, no result has less of the property than its reconstruction."""
    torch.manual_seed(0)
    config = PartsConfig(SequenceConfig(5, 6, 2, 8, 4), GaussianPart(), TokensPart())
    family = family_with(config)
    assert family is not None
    vae = assemble(family, config).eval()
    vae.origin = Origin("", lambda _: "", "text", TextSchema("characters", ("a", "b", "c"), 6).as_plain())
    save(vae, tmp_path / "text.safetensors")
    model = open_model(ModelOptions(str(tmp_path / "text.safetensors")), EngineOptions(device="cpu"))
    (tmp_path / "lines.txt").write_text("ab\ncab\n")
    options = OptimiseOptions(f"{functions}:length", steps=4)
    (file,) = optimise(model, [tmp_path / "lines.txt"], tmp_path / "out", options).batch.results
    lines = (tmp_path / "out" / "lines.txt").read_text().split("\n")[:-1]
    assert [len(line) for line in lines] == [item.after for item in file.items]
    assert all(item.after >= item.reconstruction for item in file.items)
    assert [item.before for item in file.items] == [2, 3]
