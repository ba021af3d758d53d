"""The mutation fuzzer: real files with damage done to them, each read in this process under watch.

    python tests/attacks/mutants.py COUNT SEED [SHARED_DATA]

Prints one JSON object: how many mutants ended how, the longest time, the peak of memory. Whatever is not a VaekitError
ends the program with a traceback, and the mutant is kept beside the message. `test_mutants.py` runs it.
"""

import argparse
import codecs
import collections
import io
import json
import random
import signal
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import torch
from safetensors import safe_open
from safetensors.torch import save as to_safetensors

from vaekit.errors import VaekitError
from vaekit.families import assemble, family_of
from vaekit.families.kl.net import KLConfig
from vaekit.families.tiny.net import TinyConfig
from vaekit.formats.open import open_tensors
from vaekit.identification.build import build
from vaekit.identification.fingerprint import fingerprint
from vaekit.identification.identify import identify
from vaekit.identification.weights import weights_of

SECONDS = 20
"""For one mutant, on a machine that does other things as well."""
MEMORY = 1024
"""MiB above what the process has after reading the sound files."""
LARGEST = 2_000_000
"""Bytes of a real file that is used as a seed."""

# ------------------------------------------------------------------------------------------------------------- seeds


class Leftover:
    """An object of training, such as a callback."""


def small_vaes() -> Iterator[dict[str, torch.Tensor]]:
    """A tiny autoencoder under its native keys, and a KL autoencoder under LDM's, inside a checkpoint."""
    for name, config, layout_name, prefix in (
        ("tiny", TinyConfig(3, 1, (), (2, 2), (2, 2), (1, 1), (1, 1), False), "native", ""),
        ("kl", KLConfig(3, 1, 1, (32,), (32,), 1, 2, (), (), False, True, True, 32), "ldm", "first_stage_model."),
    ):
        family = family_of(name)
        layout = next(layout for layout in family.layouts if layout.name == layout_name)
        named = {
            piece.name: piece.tensor() for piece in weights_of(assemble(family, config), family, config).pieces(layout)
        }
        extra = {"model.diffusion_model.out.weight": torch.ones(2, 32)} if prefix else {}
        yield {prefix + key: tensor.half() for key, tensor in named.items()} | extra


def gguf_bytes(tensors: dict[str, torch.Tensor], folder: Path) -> bytes:
    writer = gguf.GGUFWriter(folder / "seed.gguf", "vae")
    writer.add_array("list", ["a", "b"])
    for key, tensor in tensors.items():
        numbers = tensor.float().numpy()
        kind = gguf.GGMLQuantizationType.Q8_0 if tensor.shape[-1:] == (32,) else gguf.GGMLQuantizationType.F32
        writer.add_tensor(key, gguf.quantize(numbers, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return (folder / "seed.gguf").read_bytes()


def pickled(content: object, new: bool, protocol: int) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    return buffer.getvalue()


def seeds(shared: Path | None, folder: Path) -> dict[str, list[bytes]]:
    """Sound files by format."""
    found: dict[str, list[bytes]] = collections.defaultdict(list)
    for tensors in small_vaes():
        found["safetensors"].append(to_safetensors(tensors, {"format": "pt", "modelspec.title": "x"}))
        found["gguf"].append(gguf_bytes(tensors, folder))
        leftovers = {Leftover: {"self": Leftover()}, "options": argparse.Namespace(rate=1)}
        wrapped = {"callbacks": leftovers, "epoch": 3, "state_dict": collections.OrderedDict(tensors)}
        for new, format_name in ((True, "zip"), (False, "legacy")):
            found[format_name] += [pickled(wrapped, new, 2), pickled(tensors, new, 4)]
    for path in sorted((shared / "vae").rglob("*")) if shared else ():
        if path.suffix in (".safetensors", ".pt", ".pth") and path.stat().st_size <= LARGEST:
            content = path.read_bytes()
            zipped = "zip" if content.startswith(b"PK") else "legacy"
            found["safetensors" if content[8:9] == b"{" else zipped].append(content)
    return dict(found)


# ----------------------------------------------------------------------------------------------------------- mutations

MARKS = {
    "safetensors": (b"{", b"shape", b"dtype", b"data_offsets", b"__metadata__", b'"'),
    "gguf": (b"GGUF", b"general.", b"weight", b"bias", b"list"),
    "zip": (b"\x80\x02", b"\x80\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x03\x04", b"torch", b"storage"),
    "legacy": (b"\x80\x02", b"\x80\x04", b"torch", b"storage", b"cpu", b"weight"),
}
"""Around which the structure of a format stands."""
OPCODES = b"(.0125]}Rboci\x81\x92\x93QPtaehjX\x8a\x8d\x8f\x90\x91\x85\x86\x87Nq\x94\x95\x96\x97\x98\x82\x83\x84ISVLFgpr"
NUMBERS = (0, 1, 2, 31, 32, 255, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1)
WORDS = (b"[", b"{", b"}", b"]", b",", b"0", b"-1", b"null", b"1e9", b"99999999999999999999", b'"', b"\\u0000", b"F64")
WORDS += (
    b"cos\nsystem\n",
    b"cbuiltins\neval\n",
    b"\x8c\x02os\x8c\x06system\x93",
    b"(S'true'\ntR",
    b"../x",
    b"\0",
    b"\xff",
)


def mutate(content: bytes, marks: tuple[bytes, ...], chance: random.Random) -> bytes:
    """Do one to six pieces of damage, most of them where the structure of the format stands."""
    mutant = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 1, 2, 6))):
        at = place(mutant, marks, chance)
        match chance.choice((0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8)):
            case 0:
                mutant[at : at + 1] = bytes([(mutant[at] if at < len(mutant) else 0) ^ 1 << chance.randrange(8)])
            case 1:
                mutant[at : at + 1] = bytes([chance.choice(OPCODES)])
            case 2:
                mutant[at:at] = chance.randbytes(chance.randint(1, 4))
            case 3:
                del mutant[at : at + chance.choice((1, 2, 4, 8, 64))]
            case 4:
                mutant[at : at + 8] = struct.pack("<Q", chance.choice(NUMBERS))
            case 5:
                mutant[at : at + 4] = struct.pack("<I", chance.choice(NUMBERS) & 0xFFFFFFFF)
            case 6:
                mutant[at:at] = chance.choice(WORDS)
            case 7:
                other = place(mutant, marks, chance)
                mutant[at:at] = mutant[other : other + chance.choice((4, 40, 400))]
            case _:
                digits(mutant, at, chance)
    if chance.random() < 0.03:
        del mutant[chance.randrange(len(mutant) + 1) :]
    return bytes(mutant)


def mutate_inside(content: bytes, format_name: str, chance: random.Random) -> bytes:
    """Damage what a sound envelope holds: the header of a safetensors file, or the pickle in a zip."""
    if format_name == "safetensors":
        end = 8 + int.from_bytes(content[:8], "little")
        header = mutate(content[8:end], MARKS[format_name], chance)
        return struct.pack("<Q", len(header)) + header + content[end:]
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            record = old.read(name)
            new.writestr(name, mutate(record, MARKS["legacy"], chance) if name.endswith("data.pkl") else record)
    return buffer.getvalue()


def place(mutant: bytearray, marks: tuple[bytes, ...], chance: random.Random) -> int:
    """Somewhere in the file: mostly behind a random one of the places where a mark stands."""
    start = chance.randrange(len(mutant) + 1)
    if chance.random() < 0.8:
        mark = chance.choice(marks)
        found = mutant.find(mark, start)
        found = found if found >= 0 else mutant.find(mark)
        return min(max(found, 0) + chance.randrange(60), len(mutant))
    return start


def digits(mutant: bytearray, at: int, chance: random.Random) -> None:
    """Write another number in place of the next one in decimal digits."""
    while at < len(mutant) and not 48 <= mutant[at] <= 57:
        at += 1
    end = at
    while end < len(mutant) and 48 <= mutant[end] <= 57:
        end += 1
    mutant[at:end] = str(chance.choice((*NUMBERS, chance.randrange(10_000)))).encode()


# --------------------------------------------------------------------------------------------------------------- watch

FORBIDDEN = (
    *(
        "os.system",
        "os.exec",
        "os.fork",
        "os.posix_spawn",
        "os.spawn",
        "os.remove",
        "os.mkdir",
        "os.rename",
        "os.chmod",
    ),
    *("subprocess.Popen", "exec", "compile", "pickle.find_class", "marshal.loads", "import", "shutil.", "socket."),
    *("ctypes.", "webbrowser.open", "code.__new__", "function.__new__", "builtins.input", "sys._getframe"),
)


class Watch:
    """An audit hook: while it is on, whatever reaches outside or runs other code is an error."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if writes or event.startswith(FORBIDDEN):
            self.seen.append(f"{event} {arguments!r}"[:300])


def outcome(path: Path) -> str:
    """How reading one file ends: the name of a VaekitError, or what was there."""
    try:
        with torch.no_grad():
            fingerprint(build(identify(path)))
            return "loaded"
    except VaekitError as error:
        told = str(error)
        assert "\n" not in told
        assert "\x1b" not in told
        assert len(told) < 4000, len(told)
        name = type(error).__name__
    if name in ("UnknownVAE", "WrongTensors"):  # the file itself is fine, so all of it must be readable
        file = open_tensors(path)
        file.read(key for key, spec in file.specs.items() if spec.readable)
    return name


def agrees_with_the_library(path: Path) -> None:
    """What we take for a safetensors file, the library takes for one too; it may know fewer kinds of numbers."""
    ours = open_tensors(path)
    if ours.format == "safetensors" and all(spec.readable for spec in ours.specs.values()):
        with safe_open(path, framework="pt") as theirs:
            assert set(theirs.keys()) == set(ours.specs)
            for name, tensor in ours.read(ours.specs).items():
                same = theirs.get_tensor(name)
                assert (tensor.shape, tensor.dtype) == (same.shape, same.dtype)
                assert torch.equal(tensor.flatten().view(torch.uint8), same.flatten().view(torch.uint8))


def peak() -> int:
    """MiB that this process had at most; what `resource` says counts its parent in."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024


def too_long(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS} seconds for one mutant")


def run(count: int, seed: int, shared: Path | None, tell: Callable[[str], object]) -> dict[str, Any]:
    """Read so many mutants; see the module's docstring."""
    chance, watch = random.Random(seed), Watch()
    outcomes: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    slowest, start = 0.0, time.perf_counter()
    signal.signal(signal.SIGALRM, too_long)
    with tempfile.TemporaryDirectory() as folder:
        sound = seeds(shared, Path(folder))
        path = Path(folder) / "x"
        for contents in sound.values():
            for content in [*contents, contents[0][:100], b""]:
                path.write_bytes(content)
                outcome(path)
        for codec in ("cp437", "raw_unicode_escape", "unicode_escape"):  # of names in zips, and of texts in pickles
            codecs.lookup(codec)  # Python imports it when it is first used
        before = peak()
        for number in range(count):
            format_name = list(sound)[number % len(sound)]
            small, real = sound[format_name][:4], sound[format_name][4:]
            sound_one = chance.choice(real if real and chance.random() < 0.1 else small)
            path = Path(folder) / str(number)  # a new file: the old one may still be mapped
            inside = format_name in ("safetensors", "zip") and chance.random() < 0.5
            mutant = (
                mutate_inside(sound_one, format_name, chance)
                if inside
                else mutate(sound_one, MARKS[format_name], chance)
            )
            path.write_bytes(mutant)
            began = time.perf_counter()
            signal.alarm(SECONDS)
            watch.on = True
            try:
                ended = outcome(path)
            except BaseException:
                watch.on = False
                kept = Path(tempfile.gettempdir()) / "vaekit-mutant"
                kept.write_bytes(path.read_bytes())
                tell(f"mutant {number} of {format_name} is kept as {kept}\n")
                raise
            finally:
                watch.on = False
                signal.alarm(0)
            slowest = max(slowest, time.perf_counter() - began)
            assert not watch.seen, (number, format_name, watch.seen)
            if format_name == "safetensors" and ended != "BadCheckpoint":
                agrees_with_the_library(path)
            outcomes[format_name][ended] += 1
            path.unlink()
            if number % 1000 == 999:
                tell(f"{number + 1} mutants, {time.perf_counter() - start:.0f} s, {peak() - before} MiB more\n")
    assert peak() - before < MEMORY, peak() - before
    return {
        "mutants": count,
        "outcomes": {name: dict(sorted(counter.items())) for name, counter in outcomes.items()},
        "seconds": round(time.perf_counter() - start, 1),
        "slowest": round(slowest, 2),
        "MiB more": peak() - before,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    told = run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None, sys.stderr.write)
    sys.stdout.write(json.dumps(told, indent=1) + "\n")
