"""Zephyr: a module with Kconfig, and a sample that twister can run."""

from __future__ import annotations

from edgekit.packages import common
from edgekit.packages.contents import Contents
from edgekit.packages.ctext import fill
from edgekit.packages.example import check_files

TITLE = "Zephyr module"

#: What Zephyr's main thread needs besides the inference, with room to spare.
_MAIN_STACK = 2048


def files(contents: Contents) -> dict[str, bytes]:
    """The module; its sample finds it two folders up."""
    sample = f"samples/{contents.name}_check"
    values = {
        **common.names(contents),
        **common.sizes(contents),
        "sources": "\n".join(f"    ../src/{name}" for name in contents.sources),
        "main_stack": _MAIN_STACK + -(-contents.stack_bytes // 256) * 256,
    }

    def filled(template: str) -> bytes:
        return fill(f"zephyr/{template}", **values).encode()

    return {
        **common.papers(contents, "zephyr", TITLE, fill("zephyr/README.md", **values)),
        "zephyr/module.yml": filled("module.yml"),
        "zephyr/Kconfig": filled("Kconfig"),
        "zephyr/CMakeLists.txt": filled("CMakeLists.txt"),
        **common.source_files(contents),
        f"{sample}/CMakeLists.txt": filled("sample_CMakeLists.txt"),
        f"{sample}/prj.conf": filled("prj.conf"),
        f"{sample}/sample.yaml": filled("sample.yaml"),
        f"{sample}/src/main.c": filled("main.c"),
        **common.below(f"{sample}/src", check_files(contents)),
    }
