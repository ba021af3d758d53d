"""SD.Next's own client of remote VAEs, with the patch of integrations/sdnext, against `vaekit serve`.

    python bench/sdnext.py CHECKOUT [--vae builtin]

CHECKOUT is a folder with SD.Next's modules/vae/sd_vae_remote.py and modules/ui_definitions.py. They are copied, the
patch is applied to the copies, and the client runs with stand-ins for the rest of SD.Next: latents are decoded as raw
tensors, PNG and JPEG, and an image is encoded. Printed are the largest differences from the engine in this process.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.request import urlopen

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import vaekit

PATCH = Path(__file__).parents[1] / "integrations" / "sdnext" / "remote-vae-url.patch"
CLIENT, SETTINGS = Path("modules/vae/sd_vae_remote.py"), Path("modules/ui_definitions.py")
PORT, PATIENCE = 8193, 120


def patched(checkout: Path, folder: Path) -> Path:
    """The client with the patch."""
    for name in (CLIENT, SETTINGS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checkout / name, folder / name)
    subprocess.run(["git", "apply", str(PATCH)], cwd=folder, check=True)
    return folder / CLIENT


def stand_ins(url: str) -> Any:
    """What the client imports of SD.Next; its settings are returned."""
    log = SimpleNamespace(error=print, debug=lambda *_: None)
    options = SimpleNamespace(remote_vae_url=url, remote_vae_type="raw", remote_vae_encode=True)
    shared = SimpleNamespace(opts=options, sd_model_type="sd", sd_model=SimpleNamespace(vae=SimpleNamespace(config={})))
    modules = ModuleType("modules")
    members = {
        "devices": SimpleNamespace(cpu=torch.device("cpu"), dtype=torch.float32),
        "shared": shared,
        "errors": SimpleNamespace(display=print),
        "modelloader": SimpleNamespace(hf_login=lambda: None),
        "logger": SimpleNamespace(log=log),
    }
    vars(modules).update(members)
    sys.modules["modules"] = modules
    sys.modules |= {f"modules.{name}": module for name, module in members.items()}  # type: ignore[misc]
    return options


def wait(url: str) -> None:
    """Wait until the server is ready."""
    for _ in range(PATIENCE):
        try:
            with urlopen(f"{url}/ready", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(1)
    raise SystemExit("The server did not start.")


def difference(a: Tensor, b: Tensor) -> str:
    """The largest one, in levels of 8 bits."""
    return f"{(a - b).abs().max() * 127.5:.3f} levels"


def as_tensor(image: Image.Image) -> Tensor:
    """(1, 3, h, w) in [-1, 1]."""
    return torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0)[None].float() / 127.5 - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--vae", default="builtin")
    asked = parser.parse_args()
    engine, url = vaekit.Engine(vaekit.load(asked.vae), vaekit.Plan(device="cpu")), f"http://127.0.0.1:{PORT}"
    server = subprocess.Popen([sys.executable, "-m", "vaekit", "serve", "--vae", asked.vae, "--port", str(PORT)])
    try:
        with tempfile.TemporaryDirectory() as folder:
            options = stand_ins(url)
            client: dict[str, Any] = {}
            exec(compile(patched(asked.checkout, Path(folder)).read_text(), "sd_vae_remote.py", "exec"), client)
            wait(url)
            image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8))
            z = client["remote_encode"]([image])
            own = engine.encode(as_tensor(image)).mode
            print(f"encode: {(z - own).abs().max():.1e} of {own.std():.2f}")
            expected = engine.decode(own).clamp(-1, 1)
            print(f"raw: {difference(client['remote_decode'](own).clamp(-1, 1), expected)}")
            for kind in ("png", "jpg"):
                options.remote_vae_type = kind
                print(f"{kind}: {difference(as_tensor(client['remote_decode'](own)[0]), expected)}")
    finally:
        server.terminate()
        server.wait(PATIENCE)


if __name__ == "__main__":
    main()
