"""Tables and text from the command line: a VAE is trained, and evaluated by what its file says of its items."""

import csv
import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_breast_cancer

import vaekit
from vaekit.cli import app
from vaekit.domains.find import domain_of
from vaekit.errors import BadCheckpoint, BadCorrection, BadItem, NotFound, UnknownDomain
from vaekit.tasks.decode import decode
from vaekit.tasks.encode import encode
from vaekit.tasks.interpolate import interpolate
from vaekit.tasks.model import open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.reconstruct import reconstruct
from vaekit.tasks.sample import sample
from vaekit.tasks.traverse import traverse

SMALL = ("--samples", 2000, "--set", "schedule.warmup_samples=200")


def call(*arguments: object, status: int | None = None) -> Any:
    """Run a command in this process; it has to end with this exit status."""
    output = io.StringIO()
    with redirect_stdout(output):
        ended = app([*map(str, arguments), "--json"], standalone_mode=False)
    assert ended == status
    return json.loads(output.getvalue())


def read_csv(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, cancer = tmp_path_factory.mktemp("table") / "cancer.csv", load_breast_cancer()
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*cancer.feature_names, "benign"])
        writer.writerows([*row, ("no", "yes")[kind]] for row, kind in zip(cancer.data, cancer.target, strict=True))
        writer.writerow(["damaged"])
    return path


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "sentences.txt"
    nouns, verbs = ("cat", "dog", "bird", "fish", "horse"), ("sleeps", "eats", "runs", "sees", "waits")
    sentences = [f"{one} {noun} {verb}" for one in ("a", "the", "one") for noun in nouns for verb in verbs]
    path.write_text("\n".join(sentences) + f"\n{'x' * 100}\n")
    return path


@pytest.fixture(scope="module")
def table_run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    run = tmp_path_factory.mktemp("table") / "run"
    return run, call("train", "tables", "--data", table, "--out", run, *SMALL)


@pytest.fixture(scope="module")
def text_run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    run = tmp_path_factory.mktemp("text") / "run"
    changes = ["vae.net.width=32", "data.unit=words", "schedule.learning_rate=5e-3", "schedule.averages=[0.9]"]
    small = [*SMALL, "--samples", 12_000, *(word for change in changes for word in ("--set", change))]
    return run, call("train", "text", "--data", text, "--out", run, *small)


def test_a_table(table: Path, table_run: tuple[Path, Any], tmp_path: Path) -> None:
    run, trained = table_run
    assert [len(read_csv(run / "examples" / f"{name}.csv")) for name in ("samples", "reconstructions")] == [21, 21]
    assert set(trained["results"]) >= {"rmse", "accuracy", "kl", "elbo", "nll"}
    assert "cancer.csv:571" in (run / "skipped.txt").read_text("utf-8")
    found = call("evaluate", "--vae", run, "--data", table, "--limit", 100, "--nll", 4, "--latent")
    assert found["measured"] + len(found["skipped"]) == 100
    assert {"aggregate_kl", "effective_dimension", "path_ratio"} <= found["latent"]["results"].keys()
    assert {"ifid", "ppl", "spectral_slope", "equivariance"} <= found["latent"]["not_measured"].keys()
    assert 0 < found["results"]["rmse"]["value"] < 1.2 and 0 < found["results"]["accuracy"]["value"] <= 1
    vae = vaekit.load(run)
    domain, schema = domain_of(vae)
    assert domain.name == "tables"
    loaded = domain.read(table, schema)
    assert loaded.x.shape == (569, 31) and list(loaded.skipped) == ["cancer.csv:571"]
    domain.write(schema.to_items(vae.reconstruct(loaded.x)), tmp_path / "out.csv", schema)
    header, *rows = (tmp_path / "out.csv").read_text("utf-8").splitlines()
    assert header.split(",") == table.read_text("utf-8").splitlines()[0].split(",") and len(rows) == 569
    assert {row.rpartition(",")[2] for row in rows} <= {"yes", "no"}
    again = domain.read(tmp_path / "out.csv", schema)
    assert again.x.shape == loaded.x.shape and not again.skipped


def test_a_table_there_and_back(table: Path, table_run: tuple[Path, Any], tmp_path: Path) -> None:
    (run, _), out = table_run, tmp_path / "out"
    report = call("reconstruct", table, "--vae", run, "--out", out, "--side-by-side", "--explain")
    (result,) = report["files"]
    assert report["plans"] and result["items"] == 569 and "cancer.csv:571" in " ".join(result["notes"])
    header, *rows = read_csv(out / "cancer.csv")
    assert header == read_csv(table)[0] and len(rows) == 569
    title, *pairs = read_csv(out / "cancer.side-by-side.csv")
    assert title[::2] == header and [pair[1::2] for pair in pairs] == rows
    assert [float(pair[0]) for pair in pairs] == pytest.approx(
        [float(row[0]) for row in read_csv(table)[1:570]], rel=1e-5
    )
    found = call("evaluate", "--vae", run, "--data", table, "--nll", 0)
    for name in ("rmse", "accuracy"):
        assert result["measures"][name] == pytest.approx(found["results"][name]["value"], rel=1e-4)
    latents = call("encode", table, "--vae", run, "--out", out)["latents"]
    assert latents[0]["items"] == 569
    call("decode", out / "cancer.latent.safetensors", "--vae", run, "--out", out / "decoded")
    assert (out / "decoded" / "cancer.csv").read_bytes() == (out / "cancer.csv").read_bytes()


def test_text_there_and_back(text: Path, text_run: tuple[Path, Any], tmp_path: Path) -> None:
    (run, _), out = text_run, tmp_path / "out"
    (result,) = call("reconstruct", text.parent, "--vae", run, "--out", out, "--side-by-side")["files"]
    sentences = (out / "sentences.txt").read_text("utf-8").splitlines()
    assert result["items"] == len(sentences) == 76 and not result["notes"]
    pairs = [line.split("\t") for line in (out / "sentences.side-by-side.txt").read_text("utf-8").splitlines()]
    assert [pair[0] for pair in pairs] == text.read_text("utf-8").splitlines()
    assert [pair[1] for pair in pairs] == sentences
    assert 0 < result["measures"]["token_accuracy"] <= 1
    call("encode", text, "--vae", run, "--out", out)
    call("decode", out, "--vae", run, "--out", out / "decoded")
    assert (out / "decoded" / "sentences.txt").read_text("utf-8").splitlines() == sentences


def test_files_of_another_domain_are_refused(table: Path, text: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    call("train", "tables", "--data", table, "--out", run, "--samples", 64)
    model = open_model(ModelOptions(str(run)), EngineOptions(device="cpu"))
    (failure,) = reconstruct(model, [text], out).failures
    assert failure.path == str(text)
    with pytest.raises(NotFound):
        reconstruct(model, [text.parent], out)
    with pytest.raises(BadCorrection):
        open_model(ModelOptions(str(run)), correct=True)
    (latents,) = encode(model, [table], out).results
    images = open_model(ModelOptions("builtin"), EngineOptions(device="cpu"))
    assert [failure.path for failure in decode(images, [latents.output], out).failures] == [str(latents.output)]
    (failure,) = reconstruct(images, [table], out).failures
    assert failure.path == str(table) and [path.name for path in out.iterdir()] == [latents.output.name]


def test_text(text: Path, text_run: tuple[Path, Any], tmp_path: Path) -> None:
    run, trained = text_run
    assert len((run / "examples" / "samples.txt").read_text("utf-8").splitlines()) == 20
    pairs = (run / "examples" / "reconstructions.txt").read_text("utf-8").splitlines()
    assert {pair.split("\t")[0] for pair in pairs} <= set(text.read_text("utf-8").splitlines())
    assert set(trained["results"]) >= {"token_accuracy", "exact_match", "kl", "elbo", "nll"}
    found = call("evaluate", "--vae", run, "--data", text, "--nll", 4, "--latent")
    assert "aggregate_kl" in found["latent"]["results"] and "path_ratio" in found["latent"]["not_measured"]
    assert found["measured"] == 76 and found["results"]["token_accuracy"]["value"] > 0.5
    vae = vaekit.load(run)
    domain, schema = domain_of(vae)
    assert domain.name == "text"
    loaded = domain.read(text, schema)
    assert schema.to_items(loaded.x)[:2] == ["a cat sleeps", "a cat eats"]
    domain.write(schema.to_items(vae.reconstruct(loaded.x)), tmp_path / "out.txt", schema)
    assert len((tmp_path / "out.txt").read_text("utf-8").split("\n")) == len(loaded.x) + 1


def test_the_same_command_finds_the_run_done(table: Path, tmp_path: Path) -> None:
    command = ("train", "tables", "--data", table, "--out", tmp_path / "run", *SMALL)
    first, weights = call(*command), (tmp_path / "run" / "vae.safetensors").read_bytes()
    again = call(*command)
    assert again == first and (tmp_path / "run" / "vae.safetensors").read_bytes() == weights


def test_converted_and_saved_files_keep_domain_and_schema(table: Path, tmp_path: Path) -> None:
    call("train", "tables", "--data", table, "--out", tmp_path / "run", "--samples", 64)
    call("convert", tmp_path / "run" / "vae.safetensors", tmp_path / "half.safetensors", "--dtype", "bf16")
    vae = vaekit.load(tmp_path / "run")
    vaekit.save(vae, tmp_path / "saved.safetensors")
    for name in ("half.safetensors", "saved.safetensors"):
        assert domain_of(vaekit.load(tmp_path / name)) == domain_of(vae)


def test_files_of_other_domains_are_refused(table: Path, tmp_path: Path) -> None:
    call("train", "tables", "--data", table, "--out", tmp_path, "--samples", 64)
    content = (tmp_path / "vae.safetensors").read_bytes()
    for old, new, error in (
        (b'"vaekit.domain":"tables"', b'"vaekit.domain":"molles"', UnknownDomain),
        (b'"{\\"columns', b'"{\\"colomns', BadCheckpoint),
    ):
        assert old in content
        path = tmp_path / "other.safetensors"
        path.write_bytes(content.replace(old, new))
        with pytest.raises(error):
            domain_of(vaekit.load(path))


def test_rows_and_sentences_are_interpolated(
    table: Path, table_run: tuple[Path, Any], text_run: tuple[Path, Any], tmp_path: Path
) -> None:
    header, *rows = read_csv(table)
    for number in range(2):
        (tmp_path / f"{number}.csv").write_text(f"{','.join(header)}\n{','.join(rows[number])}\n")
    between = ("--steps", 3, "--out")
    found = call("interpolate", tmp_path / "0.csv", tmp_path / "1.csv", "--vae", table_run[0], *between, tmp_path / "t")
    assert (found["items"], found["ghosts"]) == (5, [])
    written = read_csv(tmp_path / "t" / "interpolation.csv")
    assert written[0] == header and len(written) == 6
    (tmp_path / "ends.txt").write_text("a cat sleeps\nthe dog eats\n")
    found = call("interpolate", tmp_path / "ends.txt", "--vae", text_run[0], *between, tmp_path / "s")
    assert len((tmp_path / "s" / "interpolation.txt").read_text("utf-8").splitlines()) == found["items"] == 5


def test_rows_and_sentences_are_sampled(
    table: Path, table_run: tuple[Path, Any], text_run: tuple[Path, Any], tmp_path: Path
) -> None:
    found = call("sample", "--vae", table_run[0], "-n", 7, "--out", tmp_path / "t")
    written = read_csv(tmp_path / "t" / "samples.csv")
    assert found["items"] == 7 and written[0] == read_csv(table)[0] and len(written) == 8
    fitted = ("--prior", "fitted", "--data", table)
    found = call("sample", "--vae", table_run[0], "-n", 7, "--out", tmp_path / "f", *fitted)
    assert len(read_csv(tmp_path / "f" / "samples.csv")) == 8
    call("sample", "--vae", text_run[0], "-n", 5, "--out", tmp_path / "s")
    assert len((tmp_path / "s" / "samples.txt").read_text("utf-8").splitlines()) == 5


def test_rows_and_sentences_are_traversed(
    table: Path, table_run: tuple[Path, Any], text: Path, text_run: tuple[Path, Any], tmp_path: Path
) -> None:
    out = ("--steps", 3, "--out", tmp_path / "out")
    (tmp_path / "one.csv").write_text("\n".join(table.read_text().splitlines()[:2]))
    call("traverse", tmp_path / "one.csv", "--vae", table_run[0], "--axis", 0, "--pca", 1, "--data", table, *out)
    for name in ("axis-0", "component-1"):
        assert len(read_csv(tmp_path / "out" / f"traversal-{name}.csv")) == 4
    (tmp_path / "one.txt").write_text("a cat sleeps\n")
    call("traverse", tmp_path / "one.txt", "--vae", text_run[0], "--axis", 1, *out)
    assert len((tmp_path / "out" / "traversal-axis-1.txt").read_text().splitlines()) == 3


def test_rows_and_sentences_have_directions(
    table: Path, table_run: tuple[Path, Any], text_run: tuple[Path, Any], tmp_path: Path
) -> None:
    label, path = ("--label", "benign"), tmp_path / "benign.safetensors"
    found = call("direction", table, "--vae", table_run[0], *label, "--out", path)
    assert found["classes"] == ["no", "yes"] and found["items"] == 569 and len(found["side_effects"]) == 30
    assert found["notes"] and found["score"]["auc"] > 0.8
    (tmp_path / "one.csv").write_text("\n".join(table.read_text().splitlines()[:4]))
    along, out = ("--direction", path), ("--out", tmp_path / "out")
    call("edit", tmp_path / "one.csv", "--vae", table_run[0], *along, "--strength", "-2,0,2", *out)
    call("reconstruct", tmp_path / "one.csv", "--vae", table_run[0], "--out", tmp_path / "plain")
    assert (tmp_path / "out" / "one.+0.csv").read_bytes() == (tmp_path / "plain" / "one.csv").read_bytes()
    assert [len(read_csv(tmp_path / "out" / f"one.{step}.csv")) for step in ("-2", "+2")] == [4, 4]
    for article in ("the", "one"):
        names = ("cat", "dog", "bird", "fish", "horse")
        (tmp_path / f"{article}.txt").write_text("".join(f"{article} {name} eats\n" for name in names))
    path = tmp_path / "article.safetensors"
    found = call("direction", tmp_path / "one.txt", tmp_path / "the.txt", "--vae", text_run[0], "--out", path)
    assert (found["classes"], found["items"], found["name"]) == (["one", "the"], 10, "the")
    call("edit", tmp_path / "one.txt", "--vae", text_run[0], "--direction", path, "--strength", 1, *out)
    assert len((tmp_path / "out" / "one.txt").read_text().splitlines()) == 5


def with_schema(run: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a run's VAE with another schema."""
    with safe_open(run / "vae.safetensors", "pt") as file:
        metadata = file.metadata()
    schema = json.loads(metadata["vaekit.schema"])
    change(schema)
    metadata["vaekit.schema"] = json.dumps(schema)
    save_file(load_file(run / "vae.safetensors"), target, metadata)
    return target


def rename_a_column(schema: dict[str, Any]) -> None:
    schema["columns"][2]["name"] = "renamed"


def replace_a_token(schema: dict[str, Any]) -> None:
    schema["tokens"][3] = "replaced"


@pytest.mark.parametrize(
    ("fixture", "change", "place"),
    [("table_run", rename_a_column, "columns[2].name"), ("text_run", replace_a_token, "tokens[3]")],
)
def test_vaes_with_equal_weights_and_other_schemas_differ(
    fixture: str, change: Callable[[dict[str, Any]], None], place: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run, _ = request.getfixturevalue(fixture)
    other = with_schema(run, tmp_path / "other.safetensors", change)
    same, found = call("diff", run, run), call("diff", run, other, status=1)
    (difference,) = found["schema"]
    assert same["same"] and not same["schema"]
    assert not found["same"] and not found["counts"]["different"] and difference.startswith(place)


@pytest.mark.parametrize(
    ("fixture", "domain", "schema"),
    [("table_run", "tables", "31 columns: mean radius, "), ("text_run", "text", "unit words, ")],
)
def test_inspect_shows_domain_and_schema(
    fixture: str, domain: str, schema: str, request: pytest.FixtureRequest
) -> None:
    run, _ = request.getfixturevalue(fixture)
    for _ in ("first", "cached"):
        facts = call("inspect", run)
        assert facts["domain"] == facts["media"] == domain and facts["schema"].startswith(schema)


def test_every_skipped_row_is_in_the_result(table: Path, table_run: tuple[Path, Any], tmp_path: Path) -> None:
    rows = read_csv(table)[:20]
    rows[3][0], rows[7][1], rows[8][2], rows[9][30] = "many", "inf", "", "maybe"
    with open(tmp_path / "broken.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    (file_facts,) = call("reconstruct", tmp_path / "broken.csv", "--vae", table_run[0], "--out", tmp_path / "out")[
        "files"
    ]
    assert list(file_facts["skipped"]) == ["broken.csv:4", "broken.csv:8"], "missing and unseen cells are no errors"
    note = file_facts["notes"][0]
    assert all(reason in note for reason in file_facts["skipped"].values())


@pytest.mark.parametrize(("fixture", "data"), [("table_run", "table"), ("text_run", "text")])
@pytest.mark.parametrize("verb", ["reconstruct", "interpolate", "traverse", "sample"])
def test_non_finite_weights_are_refused(
    verb: str, fixture: str, data: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run, _ = request.getfixturevalue(fixture)
    with safe_open(run / "vae.safetensors", "pt") as file:
        metadata = file.metadata()
    tensors = load_file(run / "vae.safetensors")
    for name, tensor in tensors.items():
        if name.startswith("decoder"):
            tensor.fill_(float("nan"))
    save_file(tensors, tmp_path / "nan.safetensors", metadata)
    model = open_model(ModelOptions(str(tmp_path / "nan.safetensors")), EngineOptions(device="cpu"))
    path = Path(request.getfixturevalue(data))
    if verb == "reconstruct":
        assert reconstruct(model, [path], tmp_path / "out").failures
        return
    with pytest.raises(BadItem):
        {
            "interpolate": lambda: interpolate(model, [few_lines(path, tmp_path)], tmp_path / "out"),
            "traverse": lambda: traverse(model, path, tmp_path / "out"),
            "sample": lambda: sample(model, tmp_path / "out"),
        }[verb]()
    assert not (tmp_path / "out").exists()


def few_lines(path: Path, folder: Path) -> Path:
    """A copy of the first four lines of a file."""
    target = folder / path.name
    target.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:4]), "utf-8")
    return target


def test_only_the_first_row_of_a_traversal_is_read(table: Path, table_run: tuple[Path, Any], tmp_path: Path) -> None:
    rows = read_csv(table)[:4]
    rows[2][0] = "many"
    with open(tmp_path / "broken.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    found = call("traverse", tmp_path / "broken.csv", "--vae", table_run[0], "--out", tmp_path / "out", "--steps", 1)
    assert found["item"] == "broken.csv:2"
    model = open_model(ModelOptions(str(table_run[0])), EngineOptions(device="cpu"))
    with pytest.raises(BadItem) as caught:
        interpolate(model, [tmp_path / "broken.csv"], tmp_path / "out")
    assert caught.value.found == "1 row cannot be read."


def test_rows_are_indexed_and_searched(table: Path, table_run: tuple[Path, Any], tmp_path: Path) -> None:
    (run, _), folder, found = table_run, tmp_path / "index", tmp_path / "found"
    made = call("index", table, "--out", folder, "--vae", run, "--label", "benign")
    assert (made["items"], made["added"], made["failures"][0]["item"]) == (569, 569, "cancer.csv:571")
    assert made["precision"]["embedding"] > made["precision"]["chance"] and made["recall"] == 1
    assert call("index", table, "--out", folder, "--vae", run, "--label", "benign")["embedded"] == 0
    result = call("search", "cancer.csv:7", "--index", folder, "-k", 3, "--out", found)
    first = result["neighbors"][0]
    assert (first["item"], first["label"], first["itself"]) == ("cancer.csv:7", "no", True)
    assert "mean radius: " in (found / "search.html").read_text("utf-8") and not (found / "search.png").exists()
    query = tmp_path / "query.csv"
    query.write_text("\n".join(table.read_text("utf-8").splitlines()[:7:6]))
    assert call("search", query, "--index", folder)["neighbors"][0]["item"] == "cancer.csv:7"


def test_sentences_are_indexed_and_searched(text: Path, text_run: tuple[Path, Any], tmp_path: Path) -> None:
    (run, _), folder = text_run, tmp_path / "index"
    assert call("index", text, "--out", folder, "--vae", run)["items"] == 76
    for line in (1, 30):
        result = call("search", f"sentences.txt:{line}", "--index", folder, "--out", tmp_path)
        assert result["neighbors"][0]["item"] == f"sentences.txt:{line}"
    assert text.read_text("utf-8").splitlines()[29] in (tmp_path / "search.html").read_text("utf-8")
