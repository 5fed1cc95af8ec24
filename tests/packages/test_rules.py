"""Packages by the published rules of their forms and by the forms' own judges; and every source by
the compilers."""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from packaged import RIGHT, kconfig, run
from tools import need, need_modules

from edgekit.output import Output
from edgekit.packages import find_form, read_contents
from edgekit.packages.labels import LABELS
from edgekit.toolchain import freestanding_include
from targets import target

Packer = Callable[..., Path]
COMPILED = [(form, cpu) for form, label in LABELS.items() for cpu in label.compiled]
CPUS = sorted({cpu for _, cpu in COMPILED})
FLAGS = ("-c", "-O0", "-Wall", "-Wextra", "-Werror")


def compiler(cpu: str) -> list[str]:
    """GCC for a CPU, C or C++; Debian's for RISC-V has no C library, unlike the systems' own."""
    chosen = target(cpu)
    need(chosen.gcc_command)
    command = [chosen.gcc_command, *(f for f in chosen.gcc_flags if f.startswith("-m")), *FLAGS]
    bare = ["-ffreestanding", f"-I{freestanding_include()}"] if cpu == "riscv32" else []
    return [*command, *bare]


@pytest.fixture(scope="module")
def source_files(digits: Output) -> dict[str, bytes]:
    """The sources of all forms, in both modes, by path below src/."""
    kept: dict[str, bytes] = {}
    for mode in ("aot", "interpreter"):
        contents = read_contents(digits.path, mode)
        kept |= {**contents.sources, **contents.headers}
    return kept


@pytest.mark.apt
@pytest.mark.parametrize("cpu", CPUS)
def test_every_source_compiles_by_itself(
    cpu: str, source_files: dict[str, bytes], tmp_path: Path
) -> None:
    """File by file, with src/ as the only folder of headers: Arduino's way, the strictest."""
    command = compiler(cpu)
    for name, data in source_files.items():
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_bytes(data)
    names = [f"src/{n}" for n in source_files if n.endswith((".c", ".S"))]
    assert len(names) > 10
    assembler, c = ([n for n in names if n.endswith(end)] for end in (".S", ".c"))
    # Objects of one name would overwrite each other: Arduino appends ".o" to the whole name.
    run(*command, "-std=gnu11", "-I", "src", *c, cwd=tmp_path)
    run(*command, "-x", "assembler-with-cpp", "-I", "src", *assembler, cwd=tmp_path)


@pytest.mark.parametrize(("form", "cpu"), COMPILED)
def test_the_form_has_just_these_sources(
    form: str, cpu: str, digits: Output, source_files: dict[str, bytes]
) -> None:
    """So that compiling them once speaks for all forms."""
    for mode in ("aot", "interpreter"):
        files = find_form(form).files(read_contents(digits.path, mode))
        mine = {k.removeprefix("src/"): v for k, v in files.items() if k.startswith("src/")}
        assert mine.items() <= source_files.items()


def properties(path: Path) -> dict[str, str]:
    rows = [line.split("=", 1) for line in path.read_text().splitlines()]
    assert all(len(row) == 2 for row in rows)
    return {row[0]: row[1] for row in rows}


@pytest.mark.parametrize("mode", ["aot", "interpreter"])
def test_arduino_by_its_specification(mode: str, pack: Packer) -> None:
    package = pack("arduino", mode)
    about = properties(package / "library.properties")
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category",
                "url", "architectures"}  # fmt: skip
    optional = {"depends", "dot_a_linkage", "includes", "precompiled", "ldflags"}
    assert required <= set(about) <= required | optional
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", about["name"])
    assert not about["name"].lower().startswith("arduino")
    assert re.fullmatch(r"\d+\.\d+\.\d+", about["version"])
    assert about["category"] == "Data Processing" and all(about[key] for key in required)
    assert (package / "src" / about["includes"]).is_file()
    examples = [p for p in (package / "examples").iterdir() if p.is_dir()]
    assert [(p / f"{p.name}.ino").is_file() for p in examples] == [True]
    # In the recursive layout nothing beside src/ is compiled; a folder "utility" would change it.
    assert not (package / "utility").exists() and not list(package.glob("*.c"))
    for line in (package / "keywords.txt").read_text().splitlines():
        assert re.fullmatch(r"\w+\t(KEYWORD[123]|LITERAL[12])", line)


PACK = """
import sys
from platformio.package.manifest.schema import ManifestSchema
from platformio.package.pack import PackagePacker

# The list of licences is on a server; Apache-2.0 is on it.
ManifestSchema.load_spdx_licenses = staticmethod(
    lambda: {"licenses": [{"licenseId": "Apache-2.0"}]}
)
print(PackagePacker(sys.argv[1]).pack(sys.argv[2]))
"""


def test_platformio_packs_it(pack: Packer, tmp_path: Path) -> None:
    need_modules("platformio")
    package, archive = pack("platformio"), tmp_path / "out.tar.gz"
    core = {"PLATFORMIO_CORE_DIR": tmp_path / "core"}
    run(sys.executable, "-c", PACK, package, archive, cwd=tmp_path, **core)
    with tarfile.open(archive) as packed:
        names = set(packed.getnames())
    sources = [p.relative_to(package).as_posix() for p in (package / "src").rglob("*.[chS]")]
    assert {"library.json", "LICENSE", "examples/digits_check/platformio.ini", *sources} <= names
    manifest = json.loads((package / "library.json").read_text())
    for example in manifest["examples"]:
        assert all((package / example["base"] / file).is_file() for file in example["files"])
    # The packer does judge: a manifest without a version is refused.
    del manifest["version"]
    (package / "library.json").write_text(json.dumps(manifest))
    said = run(sys.executable, "-c", PACK, package, archive, cwd=tmp_path, status=1, **core)
    assert "'version': ['Missing data" in said


def test_the_idf_component_manager_packs_it(pack: Packer, tmp_path: Path) -> None:
    need_modules("idf_component_manager")
    package = pack("esp-idf")
    command = (
        sys.executable,
        "-m",
        "idf_component_manager",
        "component",
        "pack",
        "--name",
        "digits",
    )
    own = {"IDF_TOOLS_PATH": tmp_path / "idf", "HOME": tmp_path}
    run(*command, "--dest-dir", tmp_path / "dist", cwd=package, **own)
    data = next((tmp_path / "dist").glob("digits_*.tgz")).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as packed:
        names = {n.removeprefix("./") for n in packed.getnames()}
    assert {"idf_component.yml", "CMakeLists.txt", "src/kernels.c", "LICENSE"} <= names


#: The top of Zephyr's schema of module.yml, as its documentation has it.
MODULE = {"name": str, "build": dict, "samples": list, "tests": list, "boards": list}
BUILD = {"cmake", "kconfig", "depends", "settings"}
#: Keys of a test in sample.yaml that this package may use.
TEST = {"tags": str, "harness": str, "harness_config": dict}


def test_zephyr_by_its_documentation(pack: Packer) -> None:
    package = pack("zephyr")
    module = yaml.safe_load((package / "zephyr" / "module.yml").read_text())
    assert all(isinstance(value, MODULE[key]) for key, value in module.items())
    assert set(module["build"]) <= BUILD
    assert (package / module["build"]["cmake"] / "CMakeLists.txt").is_file()
    assert (package / module["build"]["kconfig"]).is_file()
    assert all((package / folder).is_dir() for folder in module["samples"])
    sample = yaml.safe_load((package / "samples/digits_check/sample.yaml").read_text())
    assert set(sample) == {"sample", "tests"} and sample["sample"]["name"]
    for name, test in sample["tests"].items():
        assert re.fullmatch(r"[\w.]+", name)
        assert all(isinstance(value, TEST[key]) for key, value in test.items())
        assert test["harness_config"]["type"] == "one_line"
        assert [re.search(x, RIGHT) is not None for x in test["harness_config"]["regex"]] == [True]


def test_a_switch_of_kconfig_leaves_the_module_out(pack: Packer) -> None:
    need_modules("kconfiglib")
    package = pack("zephyr")
    config = kconfig(package / "zephyr" / "Kconfig", None)
    assert config == {"EDGEKIT_DIGITS": "n", "EDGEKIT_DIGITS_OPTIMIZE": "n"}
