"""Read-only mappings with access by key, by attribute and, like a tuple, by index.

They behave like diffusers' FrozenDict and BaseOutput, without requiring diffusers.
"""

from collections.abc import Iterator, Mapping
from typing import Any


class Record(Mapping[str, Any]):
    """Named values: `record.name`, `record["name"]`, `record[0]`, `"name" in record`, `dict(record)`."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __getitem__(self, key: str | int) -> Any:
        return self.to_tuple()[key] if isinstance(key, int) else self.__dict__[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __len__(self) -> int:
        return len(self.__dict__)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name!r} cannot be set: these values are read-only")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.items())})"

    def to_tuple(self) -> tuple[Any, ...]:
        """The values in order."""
        return tuple(self.__dict__.values())
