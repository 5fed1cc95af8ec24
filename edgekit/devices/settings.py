"""What a board file's ``[settings.ROUTE]`` says, checked by the route that reads it."""

from __future__ import annotations

import shlex
from types import TracebackType

from edgekit.errors import EdgekitError
from targets import Board


class Settings:
    """Used in a ``with`` statement, at whose end every key must have been asked for.

    Every method raises EdgekitError E639 where a value is of the wrong type, or none that is known.
    """

    def __init__(self, board: Board, route: str) -> None:
        self._where = f"{board.name}.toml [settings.{route}]"
        self._values = board.settings.get(route, {})
        self._asked: set[str] = set()

    def place(self, key: str) -> str:
        """The key's place in a file, for errors."""
        return f"{self._where} '{key}'"

    def text(self, key: str, default: str) -> str:
        """A text."""
        value = self._take(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, "must be a text")
        return value

    def one_of(self, key: str, allowed: tuple[str, ...]) -> str:
        """One of some texts, of which the first is the default."""
        value = self.text(key, allowed[0])
        if value not in allowed:
            raise self._wrong(key, f"must be one of: {', '.join(filter(None, allowed))}")
        return value

    def words(self, key: str) -> dict[str, str]:
        """Words NAME=VALUE."""
        text = self.text(key, "")
        words = [word.partition("=") for word in shlex.split(text)]
        if not all(name and equals for name, equals, _ in words):
            raise self._wrong(key, "must be words NAME=VALUE")
        return {name: value for name, _, value in words}

    def number(self, key: str, default: int) -> int:
        """An integer that is not negative."""
        value = self._take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._wrong(key, "must be an integer that is not negative")
        return value

    def _take(self, key: str, default: str | int) -> str | int:
        self._asked.add(key)
        return self._values.get(key, default)

    def _wrong(self, key: str, what: str) -> EdgekitError:
        return EdgekitError("E639", f"{self.place(key)} is {self._values[key]!r}, {what}")

    def __enter__(self) -> Settings:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None
    ) -> None:
        unknown = sorted(set(self._values) - self._asked)
        if kind is None and unknown:
            raise EdgekitError(
                "E639",
                f"{self._where}: unknown key '{unknown[0]}'",
                help=f"this route knows: {', '.join(sorted(self._asked))}",
            )
