"""Sentences on the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_text import SENTENCES, save_text_vae

Run = Callable[..., Any]


@pytest.fixture
def vae(tmp_path: Path) -> Path:
    save_text_vae(tmp_path / "vae.safetensors")
    return tmp_path / "vae.safetensors"


def test_interpolate_prints_its_lines(run: Run, vae: Path, tmp_path: Path) -> None:
    command = ("interpolate", "A dog runs.", "It is late.", "--vae", vae, "--steps", 3, "--out", tmp_path / "out")
    said = run(*command, "--beam", 3)
    assert said.code == 0
    lines = (tmp_path / "out" / "interpolation.txt").read_text().splitlines()
    assert len(lines) == 5 and said.out.splitlines()[-5:] == lines
    assert (tmp_path / "out" / "given" / "sentences.txt").read_text() == "A dog runs.\nIt is late.\n"
    record = json.loads((tmp_path / "out" / "interpolation.json").read_text())
    assert record["files"] == [str(tmp_path / "out" / "given" / "sentences.txt")]
    assert run(*command, "--json").json["texts"] == (tmp_path / "out" / "interpolation.txt").read_text().splitlines()


def test_interpolate_chooses_points_in_order(run: Run, vae: Path, tmp_path: Path) -> None:
    command = ("interpolate", "A dog runs.", "It is late.", "--vae", vae, "--steps", 3, "--out", tmp_path / "out")
    said = run(*command, "--ordered")
    assert said.code == 0 and len(said.out.splitlines()) >= 5
    said = run(*command, "--ordered", "--steps", 65)
    assert said.code == 1 and "65" in said.err


def test_reconstruct_and_traverse_a_sentence(run: Run, vae: Path, tmp_path: Path) -> None:
    said = run("reconstruct", "A dog runs.", "--vae", vae, "--out", tmp_path / "out")
    assert said.code == 0
    assert said.out.splitlines()[-1:] == (tmp_path / "out" / "sentences.txt").read_text().splitlines()
    assert run("traverse", "A dog runs.", "--vae", vae, "--out", tmp_path / "t", "--axis", 0).code == 0
    assert len((tmp_path / "t" / "traversal-axis-0.txt").read_text().splitlines()) == 7


def test_a_sentence_with_words_too_many(run: Run, vae: Path, tmp_path: Path) -> None:
    said = run("interpolate", "dog " * 50, "It is late.", "--vae", vae, "--out", tmp_path / "out")
    assert said.code == 1 and "50" in said.err


def test_edit_towards_a_label(run: Run, vae: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(SENTENCES[:2] * 3))
    (tmp_path / "b.txt").write_text("\n".join(SENTENCES[2:] * 3))
    made = run("direction", tmp_path / "a.txt", tmp_path / "b.txt", "--vae", vae, "--out", tmp_path / "d.safetensors")
    assert made.code == 0
    options = ("--direction", tmp_path / "d.safetensors", "--strength", "-2,0,2", "--vae", vae, "--out", tmp_path / "e")
    said = run("edit", "A dog runs.", *options)
    assert said.code == 0
    lines = [line.strip().split("  ") for line in said.out.splitlines()[-3:]]
    assert [strength for strength, _ in lines] == ["-2", "+0", "+2"]
    run("reconstruct", "A dog runs.", "--vae", vae, "--out", tmp_path / "r")
    assert lines[1][1] == (tmp_path / "r" / "sentences.txt").read_text().rstrip("\n")


def test_samples_vary_unless_they_are_greedy(run: Run, vae: Path, tmp_path: Path) -> None:
    def lines(*options: object) -> list[str]:
        said = run("sample", "--vae", vae, "-n", 20, "--out", tmp_path / "out", *options)
        assert said.code == 0
        return (tmp_path / "out" / "samples.txt").read_text().splitlines()

    drawn = lines()
    assert len(drawn) == 20 and drawn == lines() != lines("--seed", 1)
    cold, greedy = lines("--temperature", 1e-6), lines("--greedy")
    assert len(set(drawn)) > len(set(greedy)) and drawn != lines("--temperature", 5)
    assert greedy == lines("--temperature", 0) and sum(map(str.__eq__, cold, greedy)) >= 15
    assert lines("--beam", 4) == lines("--beam", 4, "--greedy")


def test_analogies(run: Run, vae: Path, tmp_path: Path) -> None:
    """From A to B: A itself ends as B does, and with strength 0 nothing changes."""
    options = ("--from", "A dog runs.", "--to", "It is late.", "--vae", vae, "--out", tmp_path / "e")
    said = run("edit", "A dog runs.", *options, "--strength", "0,1")
    assert said.code == 0
    edited = [line.strip().split("  ")[1] for line in said.out.splitlines()[-2:]]
    both = run("reconstruct", "A dog runs.", "It is late.", "--vae", vae, "--out", tmp_path / "r")
    assert edited == both.out.splitlines()[-2:]
    assert json.loads((tmp_path / "e" / "edit.json").read_text())["pair"]
    same = run("edit", "A cat sleeps.", "--from", "A dog.", "--to", "A dog.", "--vae", vae, "--out", tmp_path / "s")
    assert same.code == 1 and "same latents" in same.err


@pytest.mark.parametrize("options", [(), ("--from", "a"), ("--to", "a")])
def test_half_an_analogy(run: Run, vae: Path, options: tuple[str, ...]) -> None:
    assert run("edit", "A dog runs.", "--vae", vae, *options).code == 2


def test_index_and_search_by_a_sentence(run: Run, vae: Path, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("text,stars\n" + "".join(f'"{text}",{n}\n' for n, text in enumerate(SENTENCES)))
    assert run("index", tmp_path / "d.csv", "--vae", vae, "--out", tmp_path / "i").code == 0
    for query in ("A cat sleeps.", "d.csv:3"):
        found = run("search", query, "--index", tmp_path / "i", "-k", 2, "--out", tmp_path / "s", "--json")
        assert found.code == 0
        assert found.json["neighbors"][0]["item"] == "d.csv:3" and found.json["neighbors"][0]["itself"]
        assert SENTENCES[1] in (tmp_path / "s" / "search.html").read_text()
    said = run("search", "A cat runs.", "--index", tmp_path / "i")
    assert said.code == 0 and all(text in said.out for text in SENTENCES)
    assert said.out.splitlines()[1].split()[:2] == ["item", "sentence"]
    assert found.json["measure"] == "words kept" and found.json["neighbors"][0]["item_similarity"] == 1
    assert run("search", "dog " * 100, "--index", tmp_path / "i").code == 1


def test_scores_and_explanations_of_sentences(run: Run, vae: Path, tmp_path: Path) -> None:
    said = run("score", "A dog runs.", "It is late.", "--vae", vae, "-o", tmp_path / "s.csv", "--draws", 4)
    assert said.code == 0, said.err
    assert [line[:11] for line in said.out.splitlines()[-2:]] == ["A dog runs.", "It is late."]
    assert (tmp_path / "s.given" / "sentences.txt").read_text() == "A dog runs.\nIt is late.\n"
    (tmp_path / "more.txt").write_text("A dog runs.\nIt is late.\n")
    again = run("score", tmp_path / "more.txt", "--vae", vae, "-o", tmp_path / "m.csv", "--draws", 4)
    assert again.code == 0 and "A dog runs." not in again.out
    scores = [
        [line.split(",")[1] for line in (tmp_path / name).read_text().splitlines()] for name in ("s.csv", "m.csv")
    ]
    assert scores[0] == scores[1]
    several = run("score", "A dog runs.", tmp_path / "more.txt", "--vae", vae, "-o", tmp_path / "x.csv")
    assert several.code == 2 and "DATA" in several.err
    by_text = run("explain", "It is late.", "--vae", vae, "--json").json["explanations"]
    by_name = run("explain", f"{tmp_path / 'more.txt'}:2", "--vae", vae, "--json").json["explanations"]
    assert [each["reasons"] for each in by_text] == [each["reasons"] for each in by_name]
    assert run("explain", f"{tmp_path / 'more.txt'}:7", "--vae", vae).code == 1
    assert run("explain", "missing.txt:2", "--vae", vae).code == 1


def test_optimised_sentences_are_printed(run: Run, vae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vaekit.tasks.estimate.SAMPLES", 50)
    (tmp_path / "lengths_of_given.py").write_text("def measure(items): return [float(len(item)) for item in items]\n")
    options = ("--property", "lengths_of_given:measure", "--vae", vae, "--steps", 2, "--out", tmp_path / "out")
    said = run("optimise", "A dog runs.", *options)
    assert said.code == 0, said.err
    assert said.out.splitlines()[-1:] == (tmp_path / "out" / "sentences.txt").read_text().splitlines()


def test_a_file_of_a_later_version_is_noted_by_every_verb(run: Run, vae: Path, tmp_path: Path) -> None:
    with safe_open(vae, "pt") as file:
        metadata = file.metadata() | {"vaekit.version": "99"}
    later = tmp_path / "later.safetensors"
    save_file(load_file(vae), later, metadata)
    for command in (
        ("sample", "-n", 1),
        ("interpolate", "A dog runs.", "It is late.", "--steps", 1),
        ("traverse", "A dog runs.", "--axis", 0),
        ("reconstruct", "A dog runs."),
    ):
        said = run(*command, "--vae", later, "--out", tmp_path / "out")
        assert said.code == 0 and "version 99" in said.err and said.err.count("version 99") == 1
