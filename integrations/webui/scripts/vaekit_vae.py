"""vaekit in A1111's web UI and Forge: settings, exact decoding within a memory limit, and a tab that compares VAEs."""

from typing import Any

from modules import script_callbacks, sd_vae, shared
from vaekit_webui.decoding import decode_by_engine
from vaekit_webui.tab import make_tab

SECTION = ("vaekit", "vaekit")


def add_settings() -> None:
    """Add the settings of the extension."""
    options = {
        "vaekit_decode": (True, "Decode images with vaekit: whole, without tiles, within the memory limit"),
        "vaekit_memory": (
            "2GiB",
            "Memory limit of vaekit for an image, such as 2GiB; empty for the free memory",
        ),
    }
    for name, (default, label) in options.items():
        shared.opts.add_option(name, shared.OptionInfo(default, label, section=SECTION))


def wrap(model: Any) -> None:
    """Decode with vaekit from now on, where the settings say so."""
    decode_by_engine(model, lambda: shared.opts.vaekit_decode, lambda: shared.opts.vaekit_memory)


def tabs() -> list[tuple[Any, str, str]]:
    """The tab that compares VAEs."""
    return [(make_tab(lambda: sd_vae.vae_dict), "vaekit", "vaekit")]


script_callbacks.on_ui_settings(add_settings)
script_callbacks.on_model_loaded(wrap)
script_callbacks.on_ui_tabs(tabs)
