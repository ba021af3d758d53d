"""What did not go as planned, in words for a person, each once."""


class Notes(list[str]):
    """Notes in the order in which they came."""

    def tell(self, note: str) -> None:
        """Note something once."""
        if note not in self:
            self.append(note)
