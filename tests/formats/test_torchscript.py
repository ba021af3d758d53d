"""The weights in TorchScript programs are those of their state dicts; their code is not read."""

import zipfile
from pathlib import Path

import pytest
import torch
from refusals import refuses
from torch import Tensor, nn

import vaekit
from vaekit.checkpoints.convert import convert
from vaekit.errors import BadCheckpoint
from vaekit.formats.open import open_tensors
from vaekit.formats.pickle_values import Placeholder
from vaekit.formats.torchscript import ScriptModule, script_object, script_state
from vaekit.vae import VAE

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.decoder = nn.Conv2d(4, 3, 3)
        self.sizes = [1, 2]

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


@pytest.fixture(params=["scripted", "traced"])
def program(request: pytest.FixtureRequest) -> torch.jit.ScriptModule:
    net = Net().eval()
    return torch.jit.script(net) if request.param == "scripted" else torch.jit.trace(net, torch.ones(1, 3, 8, 8))


def test_weights_are_those_of_the_state_dict(program: torch.jit.ScriptModule, tmp_path: Path) -> None:
    program.save(str(tmp_path / "x.pt"))
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        assert any(entry.compress_type for entry in archive.infolist())  # the code
    file, expected = open_tensors(tmp_path / "x.pt"), program.state_dict()
    assert (file.format, file.others) == ("torchscript", ())
    assert file.specs.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in file.read(expected).items())


class Tree(nn.Module):
    """The parameters of a VAE, in modules of its names."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        for name in dict.fromkeys(key.split(".")[0] for key in tensors):
            below = {key.partition(".")[2]: tensor for key, tensor in tensors.items() if key.split(".")[0] == name}
            if "" in below:
                self.register_parameter(name, nn.Parameter(below[""]))
            else:
                self.add_module(name, Tree(below))

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_vae_in_a_program_is_loaded(kl_vae: VAE, tmp_path: Path) -> None:
    torch.jit.script(Tree(dict(kl_vae.state_dict()))).save(str(tmp_path / "x.pt"))
    read = vaekit.load(tmp_path / "x.pt").state_dict()
    assert all(torch.equal(tensor, read[name]) for name, tensor in kl_vae.state_dict().items())
    convert(tmp_path / "x.pt", tmp_path / "y.safetensors")
    assert vaekit.load(tmp_path / "y.safetensors").state_dict().keys() == read.keys()


def test_a_frozen_program_has_no_named_weights(tmp_path: Path) -> None:
    torch.jit.freeze(torch.jit.script(Net().eval())).save(str(tmp_path / "x.pt"))
    with refuses(BadCheckpoint, "TorchScript", "state_dict"):
        open_tensors(tmp_path / "x.pt")


def test_only_classes_of_programs_have_state() -> None:
    assert script_object("os.system") == Placeholder("os.system")
    module = script_object("__torch__.Net")
    assert isinstance(module, ScriptModule)
    module.set_state(("a", "tuple"))
    assert script_state(module) == {}


def test_programs_that_contain_themselves_end() -> None:
    loop = ScriptModule()
    loop.set_state({"a": 1, "again": loop})
    assert len(script_state(loop)) < 50
    loop.set_state({"a": loop, "b": loop})
    with pytest.raises(ValueError, match="modules"):
        script_state(loop)


def test_a_program_that_was_compressed_later_is_named(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Conv2d(3, 4, 3)), tmp_path / "stored.pt")
    with (
        zipfile.ZipFile(tmp_path / "stored.pt") as stored,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    with refuses(BadCheckpoint, "TorchScript", "torch.jit.load"):
        open_tensors(tmp_path / "packed.pt")
