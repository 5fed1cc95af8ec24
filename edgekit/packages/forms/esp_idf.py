"""ESP-IDF: a component with its manifest and Kconfig, and a project that runs the example."""

from __future__ import annotations

import yaml  # type: ignore[import-untyped]

from edgekit.packages import common
from edgekit.packages.contents import Contents
from edgekit.packages.ctext import fill
from edgekit.packages.example import check_files

TITLE = "ESP-IDF component"


def files(contents: Contents) -> dict[str, bytes]:
    """The component; the project below ``examples`` finds it two folders up."""
    project = f"examples/{contents.name}_check"
    values = {
        **common.names(contents),
        **common.sizes(contents),
        "sources": "\n".join(f'    "src/{name}"' for name in contents.sources),
    }

    def filled(template: str) -> bytes:
        return fill(f"esp_idf/{template}", **values).encode()

    return {
        **common.papers(contents, "esp-idf", TITLE, fill("esp_idf/README.md", **values)),
        "CMakeLists.txt": filled("CMakeLists.txt"),
        "Kconfig": filled("Kconfig"),
        "idf_component.yml": _manifest(contents).encode(),
        **common.source_files(contents),
        f"{project}/CMakeLists.txt": filled("project_CMakeLists.txt"),
        f"{project}/main/CMakeLists.txt": filled("main_CMakeLists.txt"),
        f"{project}/main/main.c": filled("main.c"),
        **common.below(f"{project}/main", check_files(contents)),
    }


def _manifest(contents: Contents) -> str:
    manifest = {
        "version": contents.version,
        "description": f"The neural network of {contents.files}, compiled for the "
        f"{contents.target.name}",
        "license": "Apache-2.0",
        "maintainers": [contents.about.author],
        "url": contents.about.url,
        "tags": ["neural_network", "tinyml"],
        "dependencies": {"idf": ">=5.0"},
    }
    return yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True)
