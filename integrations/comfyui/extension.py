"""The nodes by the newer API: `comfy_entrypoint`."""

from typing import Any

from comfy_api.latest import ComfyExtension, io, ui

from .nodes import CATEGORY, NODES, Input, Node


def declared(name: str, given: Input) -> Any:
    """An input of a schema."""
    about: dict[str, Any] = {**given.settings, "tooltip": given.about}
    if given.options is not None:
        return io.Combo.Input(name, options=given.options(), **about)
    widgets: dict[str, Any] = {"INT": io.Int, "STRING": io.String}
    return widgets.get(given.kind, io.Custom(given.kind)).Input(name, **about)


def node_class(node: Node) -> type:
    """The class of a node."""

    def define_schema(cls: type) -> Any:
        return io.Schema(
            node_id=node.name,
            display_name=node.title,
            category=CATEGORY,
            description=node.about,
            inputs=[declared(name, given) for name, given in node.inputs.items()],
            outputs=[io.Custom(kind).Output(display_name=name) for name, kind in node.outputs.items()],
            is_output_node=node.shows_text,
        )

    def execute(cls: type, **arguments: Any) -> Any:
        results = node.run(**arguments)
        return io.NodeOutput(*results, ui=ui.PreviewText(results[-1]) if node.shows_text else None)

    members = {"define_schema": classmethod(define_schema), "execute": classmethod(execute)}
    return type(node.name, (io.ComfyNode,), {"__doc__": node.about, **members})


class VaekitExtension(ComfyExtension):
    """The nodes of this pack."""

    async def get_node_list(self) -> list[type]:
        """Their classes."""
        return [node_class(node) for node in NODES]


async def comfy_entrypoint() -> VaekitExtension:
    """What ComfyUI calls."""
    return VaekitExtension()
