"""What `import vaekit` offers, and what it costs."""

import subprocess
import sys

import vaekit


def test_the_front_door_is_small() -> None:
    assert set(vaekit.__all__) == {
        "VAE",
        "Engine",
        "Inspection",
        "LatentNormalization",
        "Plan",
        "VAEDetector",
        "VAETransformer",
        "VaekitError",
        "__version__",
        "bake",
        "extract",
        "as_diffusers",
        "inspect",
        "load",
        "patch",
        "save",
        "unpatch",
    }
    assert dir(vaekit) == sorted(vaekit.__all__)


def test_every_public_name_opens_and_says_what_it_is() -> None:
    for name in vaekit.__all__:
        assert getattr(vaekit, name).__doc__, name


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(vaekit, "autoencoder")


def modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nsys.stdout.write(' '.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_importing_vaekit_imports_no_torch() -> None:
    assert not {"torch", "numpy", "PIL", "typer", "huggingface_hub", "sklearn"} & modules_after("import vaekit")


def test_help_imports_no_torch() -> None:
    statement = "from vaekit.cli import app\ntry:\n    app(['--help'])\nexcept SystemExit:\n    pass"
    assert not {"torch", "numpy", "PIL", "safetensors", "huggingface_hub"} & modules_after(statement)
