"""The bench scripts still run; their numbers belong to a quiet machine, not to a test."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from planted_rows import save_planted
from safetensors.torch import save_file
from skimage import data
from small_audio import save_tone
from torch import Tensor

pytestmark = pytest.mark.nightly
BENCH = Path(__file__).parents[2] / "bench"


def run(script: str, *arguments: str | Path) -> str:
    """What a script prints."""
    done = subprocess.run([sys.executable, BENCH / script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_cpu_counts_operations_and_prints_a_row_for_each_side() -> None:
    sides = ["vaekit", "diffusers", "openvino", "onnxruntime"]  # to compile takes too long for a test
    small = ["--side", "64", "--runs", "1", "--widths", "32,32,32,64", "--sides", ",".join(sides)]
    printed = run("cpu.py", *small, "--jobs", "sd1-decode,tiny-encode")
    tables = printed.split("\n\n")[1:]
    assert [table.split(",")[0] for table in tables] == ["sd1 decode", "tiny encode"]
    blocks = {64: 1, 32: 3, 16: 3, 8: 3}  # of tiny's encoder, of three convolutions each, by the sides of their maps
    macs = sum(64 * 64 * 9 * side**2 * (3 * count + (side < 64)) for side, count in blocks.items())
    macs += 3 * 64 * 9 * 64**2 + 64 * 4 * 9 * 8**2
    assert f"{2 * macs / 1e9:.4g} GFLOP;" in tables[1]
    for side in sides:
        if f"{side} is skipped" in printed:
            continue
        for table in tables:
            seconds, eager, ours, efficiency, error = re.search(
                rf"^{side} +(\S+) +(\S+)x +(\S+)x +(\S+) +(\S+)", table, flags=re.MULTILINE
            ).groups()
            assert min(map(float, (seconds, eager, ours, efficiency))) > 0
            assert float(error) < 1e-4


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_prints_a_row_for_each_job() -> None:
    jobs = ["decode", "encode", "diffusers decode", "diffusers decode tiled"]
    printed = run("memory.py", "--side", "64", "--widths", "32,32,32,64", "--jobs", ",".join(jobs))
    for job in jobs:
        row = next(line for line in printed.splitlines() if re.match(rf"{job}  ", line))
        first_peak, peak, _predicted, first, second, _ratio, error = row[24:].split()[:7]
        assert min(map(float, (first, second))) > 0
        assert 0 < float(first_peak) <= float(peak) + 1, "MB are rounded, and the kernel counts pages roughly"
        if job == "decode":
            assert float(error) < 1e-5
        elif job == "diffusers decode tiled":
            assert float(error) > 1e-3, "tiles of 32 pixels leave seams"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_forecast_prints_what_was_told_and_what_was_taken() -> None:
    printed = run("forecast.py", "--families", "tiny", "--halves", "decode", "--sides", "256", "--dtypes", "fp32")
    rows = [line.split() for line in printed.splitlines() if line.startswith("tiny")]
    assert [row[:4] for row in rows] == [["tiny", "decode", "256", "fp32"]] * 2
    assert all(float(each) > 0 for row in rows for each in row[5:8])
    assert int(rows[0][4]) == 0 < int(rows[1][4]) < float(rows[0][5])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_serve_load_prints_the_rate_of_the_loop_and_of_the_clients() -> None:
    printed = run("serve_load.py", "--side", "64", "--clients", "4", "--seconds", "1", "--local-seconds", "0.5")
    rates = re.findall(r"^(?:serial loop|  4 clients) +(\S+) images/s", printed, flags=re.MULTILINE)
    assert len(rates) == 2 and min(map(float, rates)) > 0
    assert re.search(r"^statuses +\{200: \d+\}$", printed, flags=re.MULTILINE)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_whole_checkpoints_prints_a_row_for_each_job(tmp_path: Path) -> None:
    small = ["--gigabytes", "0.01", "--widths", "32,64"]
    printed = run("whole_checkpoints.py", *small, "--jobs", "extract,bake", "--folder", tmp_path)
    peaks = dict(re.findall(r"^(\S.*?) {2,}(\d+) MB", printed, flags=re.MULTILINE))
    assert peaks.keys() == {"extract", "bake"}
    assert list(tmp_path.iterdir()) == []


def test_folder_prints_both_throughputs_and_their_ratio() -> None:
    sizes = ["--images", "6", "--side", "32", "--rounds", "2", "--width", "8"]
    done = subprocess.run([sys.executable, BENCH / "folder.py", *sizes], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^(engine alone|files to files) +(\S+) +\d+ ms$", done.stdout, flags=re.MULTILINE))
    assert rows.keys() == {"engine alone", "files to files"}
    assert all(float(row) > 0 for row in rows.values())
    assert float(re.findall(r"^ratio: (\S+) of", done.stdout, flags=re.MULTILINE)[0]) > 0
    assert re.search(r"read \d+\.\d ms, write \d+\.\d ms$", done.stdout)


def test_cuda_prints_a_row_for_each_side() -> None:
    small = ["--device", "cpu", "--pixels", "64", "--widths", "32,32,32,64", "--batches", "2", "--runs", "1"]
    sides = ["vaekit", "diffusers"]  # to compile takes too long for a test
    printed = run("cuda.py", *small, "--sides", ",".join(sides), "--dtypes", "bf16")
    tables = printed.split("\n\n")[1:]
    assert [table.split(":")[0] for table in tables] == [f"{half}, 2 of 64x64, bf16" for half in ("decode", "encode")]
    for table in tables:
        for side in sides:
            cells = next(line for line in table.splitlines() if re.match(rf"{side}  ", line)).split()[1:]
            seconds, faster, peak, share, first, _, error = cells
            assert min(float(seconds), float(faster.rstrip("x")), float(share)) > 0
            assert (float(peak), float(first) >= 0) == (0, True), "on a CPU no memory is counted"
            assert float(error) < 0.2
        assert re.search(r"^vaekit is \S+x as fast as diffusers; the bar is 1.8x$", table, flags=re.MULTILINE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_cuda_says_that_there_is_none() -> None:
    assert run("cuda.py") == "There is no CUDA device here: nothing was measured.\n"


def test_adversarial_goes_on_in_three_ways(tmp_path: Path, lpips_tensors: dict[str, Tensor]) -> None:
    for folder, count in (("photos", 1), ("captioned", 11), ("kodak", 1)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            Image.fromarray(data.astronaut()[8 * i : 8 * i + 256, 100:356]).save(tmp_path / folder / f"{i:02}.png")
    save_file(lpips_tensors, tmp_path / "lpips.safetensors")
    told = ["--lpips", tmp_path / "lpips.safetensors", "--out", tmp_path / "out", "--settled", "16", "--further", "16"]
    printed = run("adversarial.py", tmp_path, *told)
    for way in ("alone", "ldm", "vaekit"):
        assert re.search(rf"^{way}: PSNR at its lowest [+-]\S+ dB .*; LPIPS \S+ -> \S+$", printed, flags=re.MULTILINE)


def test_defects_prints_what_was_named() -> None:
    printed = run("defects.py", "skimage", "--most", "1", "--cases", "none,salt")
    rows = dict(re.findall(r"^(none|salt) +(\d+/\d+)  ", printed, flags=re.MULTILINE))
    assert rows == {"none": "3/3", "salt": "9/9"}
    assert re.search(r"^the ten cases, each weighing the same: 100.0 %$", printed, flags=re.MULTILINE)


def test_defects_has_a_column_for_each_level_of_noise() -> None:
    printed = run("defects.py", "skimage", "--most", "1", "--cases", "shadows", "--noise", "0,2")
    assert re.search(r"^shadows +2/2 +2/2  clipped 4$", printed, flags=re.MULTILINE)


def test_codes_prints_a_row_for_each_side(tmp_path: Path) -> None:
    pytest.importorskip("vector_quantize_pytorch", reason="vector-quantize-pytorch is not installed")
    rows = torch.randint(256, (24, 32 * 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(rows.numpy()).save(tmp_path / "sprite.png")
    small = ["--samples", "128", "--steps", "1", "--widths", "8,8,8", "--held-out", "8"]
    printed = run("codes.py", tmp_path / "sprite.png", *small)
    for name in ("vaekit", "VectorQuantize", "vaekit", "FSQ"):
        row = re.search(rf"^{name} +(\S+) % +(\S+) +(\S+) +(\S+) dB +(\S+)$", printed, flags=re.MULTILINE)
        assert row is not None
        assert min(map(float, row.groups())) > 0
    ours, theirs = re.findall(r"^(?:vaekit|FSQ) .*%(.*) dB", printed.split("\n\n")[-1], flags=re.MULTILINE)
    assert ours == theirs, "rounding is the same in both, and so is all that follows"


def test_walk_counts_files(tmp_path: Path) -> None:
    Image.fromarray(data.astronaut()[:64, 100:164]).save(tmp_path / "a.png")
    printed = run("walk.py", tmp_path / "a.png", "--vae", "builtin", "--list")
    counts = [int(count) for count in re.findall(r": (\d+) files$", printed, flags=re.MULTILINE)]
    assert len(counts) == 3 and max(counts[:2]) < counts[2] < sum(counts)
    assert re.search(r"^ +[\d,]+  domains/images.files.py$", printed, flags=re.MULTILINE)


def test_latent_space_prints_reconstruction_and_latent_space(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    run("latent_space.py", "--photos", tmp_path, "--size", "32", "--limit", "3", "--write", tmp_path / "crops")
    printed = run("latent_space.py", "builtin", "--data", tmp_path / "crops", "--size", "32", "--paths", "2")
    tables = printed.split("\n\n")
    assert "| PSNR, dB |" in tables[0] and "| PPL (alex, lerp) |" in tables[1]
    assert "3 images" in tables[2]


def test_optimise_items_prints_a_row_for_each_method(tmp_path: Path) -> None:
    vae, table = save_planted(tmp_path / "vae.safetensors"), tmp_path / "rows.csv"
    table.write_text("height,width,ripe\n12,0.5,yes\n8,0,no\n10,0,no\n")
    options = ["--property", "height", "--density", "0", "--within", "1", "--count", "2", "--steps", "30"]
    printed = run(
        "optimise_items.py", table, "--vae", vae, *options, "--method", "gradient", "cma-es", "--out", tmp_path
    )
    rows = [re.split(r" {2,}", line) for line in printed.splitlines()]
    assert [row[0] for row in rows] == ["method", "gradient", "cma-es"]
    assert all(float(row[6]) == pytest.approx(2, abs=0.05) and row[8] == "-" for row in rows[1:])


def test_ray_cache_prints_the_rate_of_each_side() -> None:
    pytest.importorskip("ray", reason="Ray is an extra")
    printed = run("ray_cache.py", "--images", "12", "--side", "32", "--rounds", "1", "--width", "8", "--shard", "2")
    rows = dict(re.findall(r"^(this process|1 worker|2 workers) +(\S+) images/s,", printed, flags=re.MULTILINE))
    assert len(rows) == 3 and all(float(rate) > 0 for rate in rows.values())
    assert "shards are equal" in printed


def test_audio_small_prints_each_comparison_and_each_bar(tmp_path: Path) -> None:
    pytest.importorskip("soundfile", reason="audio needs soundfile")
    for digit in range(10):
        for number in range(3, 8):
            name = f"{digit}_nobody_{number}.wav"
            save_tone(tmp_path / "recordings" / name, 1500 + 100 * number, frequency=200.0 + 250 * digit)
    settings = ("schedule.samples=64", "vae.net.widths=[8,8,8]", "schedule.warmup_samples=8", "data.samples=1024")
    options = [part for each in settings for part in ("--set", each)]
    printed = run("audio_small.py", tmp_path / "recordings", "--out", tmp_path / "out", "--test", "4", *options)
    rows = re.findall(r"^(.*): log-mel L1 (\S+), MR-STFT (\S+), SI-SDR", printed, flags=re.MULTILINE)
    assert len(rows) == 4 and all(float(value) > 0 for row in rows for value in row[1:])
    assert len(re.findall(r"; the bar of \d+ % is (?:reached|missed)$", printed, flags=re.MULTILINE)) == 3
    assert (tmp_path / "out" / "interpolation" / "interpolation.wav").is_file()


SMALL_RUN = ("--set", "schedule.samples=600", "--set", "schedule.warmup_samples=100", "--set", "vae.net.width=16")


def test_molecules_prints_every_measure(tmp_path: Path) -> None:
    pytest.importorskip("rdkit", reason="molecules need rdkit")
    pytest.importorskip("selfies", reason="molecules need selfies")
    ends, middles = ("C", "F", "Cl", "OC", "N", "C#N", "C(F)F"), ("C", "O", "C(=O)N", "NC(=O)", "CN")
    every = [f"c1ccc({one})cc1{middle}Cc1ccc({other})cc1" for one in ends for middle in middles for other in ends]
    (tmp_path / "train.csv").write_text("SMILES,SPLIT\n" + "".join(f"{each},train\n" for each in every[::2]))
    (tmp_path / "test.smi").write_text("".join(f"{each}\n" for each in every[1::2]))
    sizes = ("--count", "120", "--held-out", "40", "--samples", "20", "--steps", "1")
    printed = run(
        "molecules.py", tmp_path / "train.csv", tmp_path / "test.smi", "--out", tmp_path / "out", *sizes, *SMALL_RUN
    )
    assert re.search(r"^training: \S+ min", printed, flags=re.MULTILINE)
    for name in ("exact_match", "tanimoto", "kl", "nll", "valid", "unique_20", "novel"):
        assert f'"{name}"' in printed
    counts = re.search(r"^interpolate: distinct molecules of 9: \[(.*)\]; ", printed, flags=re.MULTILINE)
    assert len(counts[1].split(", ")) == 10 and all(1 <= int(count) <= 9 for count in counts[1].split(", "))
    before, after = re.search(r"^optimise: QED (\S+) -> (\S+) \(medians of ", printed, flags=re.MULTILINE).groups()
    assert 0.7 <= float(before) <= float(after)


def test_text_prints_a_row_for_each_measure(tmp_path: Path) -> None:
    nouns, verbs = ("cat", "dog", "bird", "fish", "horse"), ("sleeps", "eats", "runs", "sees", "waits")
    every = [f"{one} {noun} {verb} ." for one in ("a", "the", "one", "no") for noun in nouns for verb in verbs]
    (tmp_path / "train.txt").write_text("".join(f"{each}\n" for each in every[::2] * 3))
    (tmp_path / "test.txt").write_text("".join(f"{each}\n" for each in every[1::2]))
    sizes = ("--nll", "2", "--limit", "20", "--pairs", "4", "--set", "data.min_count=1")
    printed = run(
        "text.py", tmp_path / "train.txt", tmp_path / "test.txt", "--out", tmp_path / "out", *sizes, *SMALL_RUN
    )
    rows = dict(re.findall(r"^(\w+) +vae (\S+)  lm \S+$", printed, flags=re.MULTILINE))
    assert {"nll", "kl", "word_perplexity", "mutual_information", "bleu"} <= rows.keys()
    vae, model = map(float, re.search(r"^nll +vae (\S+)  lm (\S+)$", printed, flags=re.MULTILINE).groups())
    compared = re.search(r"^NLL of the VAE against the language model: (\S+) %$", printed, flags=re.MULTILINE)
    assert float(compared[1]) == pytest.approx(100 * (vae / model - 1), abs=0.01)
    assert re.search(r"^interpolation, ordered: \d+% of 4 pairs ", printed, flags=re.MULTILINE)


def test_music_prints_the_measures_of_each_recipe(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)

    def tune(number: int) -> str:
        bars = ("".join(generator.choice(list("CDEFGABcde"), 8)) for _ in range(4))
        return f"X:{number}\nT:Tune {number}\nM:4/4\nL:1/8\nK:C\n{'|'.join(bars)}|\n\n"

    def chorale() -> list[list[int]]:
        return [sorted({int(each) for each in generator.integers(48, 72, 4)}) for _ in range(8)]

    tunes, chorales, out = tmp_path / "abc", tmp_path / "chorales.json", tmp_path / "out"
    tunes.mkdir()
    (tunes / "tunes.abc").write_text("".join(map(tune, range(1, 61))))
    chorales.write_text(json.dumps({"train": [chorale() for _ in range(12)], "test": [chorale() for _ in range(3)]}))
    sizes = ("--recipes", "music", "music-jsb", "--pairs", "3", "--limit", "12", "--nll", "2", "--watched", "4")
    printed = run("music.py", tunes, chorales, "--out", out, *sizes, *SMALL_RUN)
    assert "Nottingham: 54 tunes to train on, 6 held out" in printed
    line = re.search(r"^music on 12 excerpts of Nottingham: (.*)$", printed, flags=re.MULTILINE)[1]
    values = {name: float(value) for name, value in (each.rsplit(" ", 1) for each in line.split(", "))}
    assert all(0 <= values[name] <= 1 for name in ("teacher-forced", "sampled", "greedy", "exact"))
    assert values["-ELBO"] > values["KL"] > 0
    assert re.search(r"^interpolation, ordered: \d+% of 3 pairs ", printed, flags=re.MULTILINE)
    bound = re.search(r"^music-jsb: NLL <= (\S+) .*3 pieces of the test split, 24 steps", printed, flags=re.MULTILINE)
    elbo = re.search(r"-ELBO (\S+), KL (\S+) per step, (\S+) per piece$", printed, flags=re.MULTILINE)
    assert 4 < float(bound[1]) <= float(elbo[1]) + 1
    assert float(elbo[2]) == pytest.approx(float(elbo[3]) / 8, abs=0.01)


def idx(values: NDArray[np.uint8]) -> bytes:
    """An array as MNIST's files hold it."""
    return bytes([0, 0, 8, values.ndim]) + b"".join(side.to_bytes(4, "big") for side in values.shape) + values.tobytes()


def test_three_ways_prints_a_row_for_each_way(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name, count in (("train", 600), ("t10k", 300)):
        labels = generator.integers(0, 10, count).astype(np.uint8)
        images = generator.integers(0, 40, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 8, 4:24] = 250
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(images))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    small = ("diffusion.net.width=48", "diffusion.net.depth=1", "diffusion.sampling.steps=2", "schedule.batch_size=16")
    changes = [each for change in small for each in ("--set", change)]
    sizes = ("--minutes", "0.05", "--samples", "60")
    printed = run("three_ways.py", "--mnist", tmp_path, "--out", tmp_path / "out", *sizes, *changes)
    rows = printed[printed.index("Frechet") :].partition("\n")[2]
    table = dict(re.findall(r"^(\w[\w+ ]*?)  +(\S.*)$", rows, flags=re.MULTILINE))
    assert {"VAE", "GAN", "pixel diffusion", "latent diffusion", "VQ + transformer"} <= table.keys()
    assert all(len(table[name].split()) == 8 for name in table if name not in ("training digits", "reconstructions"))
    distances = {name: float(row.split()[0]) for name, row in table.items()}
    assert distances["training digits"] == min(distances.values())
    assert (tmp_path / "out" / "THREE_WAYS.png").exists()


def test_diffusion_captions_prints_a_row_for_each_kind_of_caption(tmp_path: Path) -> None:
    generator, entries = np.random.default_rng(0), []
    for kind, color in (("red", (220, 40, 30)), ("blue", (30, 40, 220))):
        folder = tmp_path / "data" / "squares" / kind
        folder.mkdir(parents=True)
        for number in range(10):
            noisy = np.array(color) + generator.integers(-20, 20, (32, 32, 3))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
            entries.append({"file": f"squares/{kind}/{number}.png", "caption": f"A {kind} square."})
    (tmp_path / "data" / "captions.json").write_text(json.dumps(entries))
    small = ("diffusion.net.width=32", "diffusion.net.depth=1", "diffusion.net.heads=2", "diffusion.sampling.steps=2")
    changes = [each for change in (*small, "schedule.batch_size=8") for each in ("--set", change)]
    sizes = ("--least", "5", "--captions", "4", "--each", "2", "--steps", "60", "--size", "32", "--minutes", "0.05")
    printed = run("diffusion_captions.py", tmp_path / "data", "--out", tmp_path / "out", *sizes, *changes)
    assert "2 categories of 20 images; the largest has 50.0%" in printed
    rows = dict(re.findall(r"^(real, held out|generated from .* captions) +(\S+)%", printed, flags=re.MULTILINE))
    assert float(rows["real, held out"]) == 100
    assert {"generated from 4 trained captions", "generated from 4 held-out captions"} <= rows.keys()
    assert (tmp_path / "out" / "PAGE.png").exists()


def test_latent_archive_prints_a_row_for_each_dtype(tmp_path: Path) -> None:
    pytest.importorskip("constriction")
    for number in range(4):
        Image.fromarray(data.astronaut()[64 * number : 64 * number + 128, 100:228]).save(tmp_path / f"{number}.png")
    printed = run("latent_archive.py", tmp_path, "--vae", "builtin", "--size", "128", "--codecs", "JPEG")
    rows = {row.split()[1]: list(map(float, row.split()[2:])) for row in re.findall(r"^builtin .*$", printed, re.M)}
    assert list(rows) == ["fp16", "int8", "coded"]
    bits = [row[0] for row in rows.values()]
    assert bits == sorted(bits, reverse=True) and bits[-1] < 5
    assert all(row[5] < 0.1 for row in rows.values())
    assert "JPEG  with that PSNR" in printed
