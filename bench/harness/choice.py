"""What was asked for on the command line: which figures of a profile are wanted."""

from dataclasses import dataclass, replace

from harness.paths import KERNELS, all_paths
from harness.results import Key


@dataclass(frozen=True)
class Choice:
    """What was asked for on the command line."""

    only: list[str]
    without: list[str]
    rounds: int | None
    tiny: bool

    def takes(self, key: Key) -> bool:
        """Whether a figure is wanted. Words of one kind, two tools as it may be, are alternatives; kinds go together."""
        names = {"tool": key.tool, "input": key.input.partition("-")[0], "path": key.path, "way": key.way,
                 "kernel": key.kernel}
        if any(is_named(word, name) for word in self.without for name in names.values()):
            return False
        for kind, name in names.items():
            meant = [word for word in self.only if kind == kind_of(word)]
            # `cp` has no way, and what has no kernel setting is the same in all.
            excepted = name in ("", "local")
            if meant and not excepted and not any(is_named(word, name) for word in meant):
                return False
        return True

    def tools(self) -> set[str]:
        """The words of --only that name tools."""
        return {word for word in self.only if kind_of(word) == "tool"}

    def without_tools(self) -> "Choice":
        """The same choice, whatever the tool."""
        return replace(self, only=[word for word in self.only if kind_of(word) != "tool"])


def kind_of(word: str) -> str:
    """What a word of --only is the name of."""
    if word in ("up", "down", "local", "greet"):
        return "way"
    if word in ("large", "small", "tree", "mixed", "empty"):
        return "input"
    if word in KERNELS:
        return "kernel"
    return "path" if word in all_paths() else "tool"


def is_named(word: str, name: str) -> bool:
    """A tool is named in full or by one word of its name, everything else in full; `sft` alone is that tool alone."""
    if word == name:
        return True
    return kind_of(word) == "tool" and word != "sft" and word in name.replace(",", "").split()
