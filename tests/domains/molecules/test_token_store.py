"""Molecules as tokens in files: converted once, by several processes, and read again."""

import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import torch
from filelock import FileLock
from refusals import refuses

from vaekit.datasets.dataset import Row
from vaekit.datasets.named_lines import NAMED_LINES
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.molecules import conversion, token_store
from vaekit.domains.molecules.chemistry import LARGEST, Normalization
from vaekit.domains.molecules.codecs import SELFIES, SMILES
from vaekit.domains.molecules.conversion import converted
from vaekit.domains.molecules.domain import MOLECULES
from vaekit.domains.molecules.records import FORMAT
from vaekit.domains.molecules.settings import MoleculeSettings
from vaekit.domains.molecules.token_store import TOKENS, TokenStore
from vaekit.domains.molecules.training_data import fit, source_of
from vaekit.errors import MissingPackage, NoTrainingData

TEXTS = ["CCO", "C(C", "[Na+].[Cl-]", "", "C[C@H](O)N", "CCCCCCCC"]
KEEP = Normalization()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that also takes few molecules."""
    monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(token_store, "LEAST", 1)
    return tmp_path / "cache" / "molecules"


def store_of(tmp_path: Path, name: str = "x.smi", normal: Normalization = KEEP, codec: str = SELFIES) -> TokenStore:
    (tmp_path / name).write_text("\n".join(TEXTS))
    data = NAMED_LINES.open(tmp_path / name, FORMAT, SkipLog()).train
    return token_store.token_store(data, codec, normal, "", lambda _: None)


def test_several_processes_give_the_results_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = list(converted(TEXTS * 3, SELFIES, KEEP))
    monkeypatch.setattr(conversion, "LEAST", 1)
    monkeypatch.setattr(conversion, "CHUNK", 4)
    monkeypatch.setattr(conversion, "available_cores", lambda: 2)
    assert list(converted(TEXTS * 3, SELFIES, KEEP)) == expected
    assert [isinstance(each, list) for each in expected[:6]] == [True, False, True, False, True, True]


def test_a_process_that_crashes_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = conversion.Workers(SELFIES, KEEP, 1)
    try:
        first = workers._idle.get()
        first.kill()
        first.wait()
        workers._idle.put(first)
        found = workers.answers(["CCO", "CCN"])
    finally:
        workers.close()
    assert found == list(converted(["CCO", "CCN"], SELFIES, KEEP))


def test_tokens_are_kept_and_reused(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = store_of(tmp_path)
    assert first.flat.dtype == np.uint8 and isinstance(first.flat, np.memmap)
    assert first.lengths.tolist() == [3, 0, 3, 0, first.lengths[4], 8]
    monkeypatch.setattr(token_store, "converted", None)
    again = store_of(tmp_path, "other.smi")
    assert np.array_equal(first.flat, again.flat) and "other.smi:2" in again.message(1, "other.smi:2")
    copy = pickle.loads(pickle.dumps(again))
    assert np.array_equal(copy.flat, again.flat) and copy.tokens == again.tokens
    assert len(pickle.dumps(again)) < 1000
    with pytest.raises(TypeError):
        store_of(tmp_path, normal=Normalization(fragments=LARGEST))
    with pytest.raises(TypeError):
        store_of(tmp_path, codec=SMILES)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"x" * 500])
def test_damaged_files_are_made_again(tmp_path: Path, cache: Path, content: bytes) -> None:
    first = store_of(tmp_path)
    expected = first.flat.tolist()
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    (folder / TOKENS).unlink()
    (folder / TOKENS).write_bytes(content)
    again = store_of(tmp_path)
    assert again.flat.tolist() == expected and (folder / TOKENS).stat().st_size > 100


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, cache: Path) -> None:
    cache.parent.write_text("a file")
    assert store_of(tmp_path).folder is None


@pytest.mark.nightly
def test_nothing_half_written_is_left_behind(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "many.smi").write_text("\n".join("C" * (2 + place % 40) + "O" for place in range(20_000)))
    code = (
        "from pathlib import Path; from vaekit.domains.molecules.domain import MOLECULES as M\n"
        "from vaekit.datasets.skip_log import SkipLog\n"
        f"M.schema({{}}, M.open(Path({str(tmp_path / 'many.smi')!r}), SkipLog()), lambda text: print(text, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"20,000" in process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode != 0
    assert [path for path in cache.iterdir() if path.suffix != ".lock"] == []


def test_training_takes_what_the_schema_takes(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    (tmp_path / "x.smi").write_text("\n".join(TEXTS))
    data = NAMED_LINES.open(tmp_path / "x.smi", FORMAT, SkipLog()).train
    said: list[str] = []
    schema = fit(store, np.array([0, 1, 2]), MoleculeSettings(length=6), said.append)
    assert "." in schema.tokens and len(said) == 1
    log = SkipLog()
    source = source_of(store, data, np.arange(len(TEXTS)), schema, log)
    assert set(log.reasons) == {"x.smi:2", "x.smi:4", "x.smi:5", "x.smi:6"}
    x = source.batch(torch.tensor([1, 0]), 0)
    assert x.dtype == torch.long and torch.equal(x, schema.from_smiles(["[Na+].[Cl-]", "CCO"]))
    with refuses(NoTrainingData, 3):
        fit(store, np.array([0, 1]), MoleculeSettings(length=2))
    with pytest.raises(NoTrainingData):
        fit(store, np.array([1, 3]), MoleculeSettings())


def test_a_table_without_molecules_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,name\n1,ethanol\n2,water\n")
    splits = MOLECULES.open(tmp_path / "x.csv", SkipLog())
    assert isinstance(splits.train.read(0), Row)
    for column in ("", "smiles", "structure"):
        with refuses(NoTrainingData, "name"):
            MOLECULES.schema({"column": column}, splits)
    (tmp_path / "y.csv").write_text("structure,smiles\nCCO,x\nCCN,y\n")
    splits = MOLECULES.open(tmp_path / "y.csv", SkipLog())
    assert len(MOLECULES.schema({"column": "structure", "held_out": 0}, splits).tokens) == 3
    with refuses(NoTrainingData, "id", "structure"):
        MOLECULES.schema({"column": "id"}, splits)
    (tmp_path / "z.smi").write_text("CCO\nCCN\n")
    with refuses(NoTrainingData, "data.column", "nosuch"):
        MOLECULES.schema({"column": "nosuch"}, MOLECULES.open(tmp_path / "z.smi", SkipLog()))


def test_line_ends_in_cells_do_not_mix_up_data() -> None:
    keys = [token_store.key_of(texts, SELFIES, KEEP) for texts in (["C\nC", "N"], ["C", "C\nN"], ["C", "C", "N"])]
    assert len(set(keys)) == 3


def test_a_process_that_waits_for_another_one_says_so(cache: Path) -> None:
    said: list[str] = []
    cache.mkdir(parents=True)
    key = token_store.key_of(TEXTS, SELFIES, KEEP)
    held = Event()

    def hold() -> None:
        with FileLock(cache / f"{key}.lock"):
            held.set()
            time.sleep(1.5)

    other = Thread(target=hold)
    other.start()
    held.wait()
    token_store.kept_store(TEXTS, SELFIES, KEEP, said.append)
    other.join()
    assert "Waiting" in said[0] and (cache / key / TOKENS).is_file()


@pytest.mark.parametrize("package", ["rdkit", "selfies"])
def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("importlib.metadata.version", lambda _: pytest.fail("metadata may be missing, too"))
    with refuses(MissingPackage, package, "vaekit[molecules]"):
        token_store.kept_store(TEXTS, SELFIES, KEEP, lambda _: None)
