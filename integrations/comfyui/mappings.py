"""The nodes by the older API: `NODE_CLASS_MAPPINGS`."""

from typing import Any

from .nodes import CATEGORY, NODES, Input, Node


def declared(given: Input) -> tuple[Any, dict[str, Any]]:
    """An input as `INPUT_TYPES` has it."""
    kind = given.kind if given.options is None else given.options()
    return kind, {**given.settings, "tooltip": given.about}


def node_class(node: Node) -> type:
    """The class of a node."""

    def input_types(cls: type) -> dict[str, Any]:
        return {"required": {name: declared(given) for name, given in node.inputs.items()}}

    def run(self: object, **arguments: Any) -> Any:
        results = node.run(**arguments)
        return {"ui": {"text": [results[-1]]}, "result": results} if node.shows_text else results

    return type(
        node.name,
        (),
        {
            "__doc__": node.about,
            "INPUT_TYPES": classmethod(input_types),
            "RETURN_TYPES": tuple(node.outputs.values()),
            "RETURN_NAMES": tuple(node.outputs),
            "FUNCTION": "run",
            "CATEGORY": CATEGORY,
            "DESCRIPTION": node.about,
            "OUTPUT_NODE": node.shows_text,
            "run": run,
        },
    )


NODE_CLASS_MAPPINGS = {node.name: node_class(node) for node in NODES}
NODE_DISPLAY_NAME_MAPPINGS = {node.name: node.title for node in NODES}
