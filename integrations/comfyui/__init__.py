"""Nodes of ComfyUI that run VAEs by vaekit: by the newer API of nodes where there is one, else by the older one.

ComfyUI reads `NODE_CLASS_MAPPINGS` before `comfy_entrypoint`, and only one of them: the older names exist only where
the new API does not.
"""

try:
    from .extension import comfy_entrypoint

    __all__ = ["comfy_entrypoint"]
except ImportError:
    from .mappings import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

    __all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
