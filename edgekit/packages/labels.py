"""How each form of package is checked: the one table that packages, the docs and the tests use.

The tests read from here what they have to build and run, so that no package claims more than they
do.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Where an example can be run, as people call it.
PLACES = {
    "host": "the machine of the tests",
    "cortex-m4": "Cortex-M4 (QEMU)",
    "riscv32": "RISC-V (QEMU)",
}


@dataclass(frozen=True)
class Label:
    """How edgekit's tests check a form.

    Attributes:
        run: places, keys of `PLACES`, for which they build the package and run its example.
        tool: what they build it with; empty where the form's own tool cannot be installed.
        stand_in: what the tests have a stand-in for there.
        compiled: CPUs for which they compile every source, file by file.
        accepted: other tools of the form that take the package.
        specification: what its files are checked against.
    """

    run: tuple[str, ...] = ()
    tool: str = ""
    stand_in: str = ""
    compiled: tuple[str, ...] = ()
    accepted: str = ""
    specification: str = ""

    @property
    def text(self) -> str:
        """The label, a phrase that ends without a full stop."""
        parts = []
        places = ", ".join(PLACES[p] for p in self.run)
        if self.run and self.tool:
            double = f", with a stand-in for {self.stand_in}" if self.stand_in else ""
            parts.append(f"built with {self.tool} and run for {places}{double}")
        elif self.run:
            parts.append(
                f"not built with {self.stand_in} itself: the example was built and run for "
                f"{places} with a stand-in for it"
            )
        if self.compiled:
            parts.append(f"sources compile-checked for {', '.join(self.compiled)}")
        if self.accepted:
            parts.append(f"accepted by {self.accepted}")
        if self.specification:
            only = "" if self.run or self.accepted else " only"
            parts.append(f"checked against {self.specification}{only}")
        return "; ".join(parts)


_CPUS = ("cortex-m4", "riscv32")

LABELS = {
    "arduino": Label(
        run=_CPUS,
        tool="arduino-builder",
        stand_in="a board's core",
        specification="the Arduino library specification 1.5, rev. 2.2",
    ),
    "cmake": Label(run=("host", *_CPUS), tool="CMake"),
    "makefile": Label(run=("host", *_CPUS), tool="GNU make"),
    "platformio": Label(
        run=("cortex-m4",),
        tool="PlatformIO",
        stand_in="the platform of a board",
        accepted="PlatformIO's packer (but for the licence's name, which it looks up on a server)",
    ),
    "zephyr": Label(
        run=("host",),
        stand_in="Zephyr",
        compiled=_CPUS,
        specification="Kconfig's language by Kconfiglib, module.yml and sample.yaml as Zephyr "
        "documents them",
    ),
    "esp-idf": Label(
        run=("host",),
        stand_in="ESP-IDF",
        compiled=_CPUS,
        accepted="the IDF component manager's `compote component pack`",
        specification="Kconfig's language by Kconfiglib",
    ),
    "cmsis-pack": Label(
        compiled=("cortex-m4",),
        specification="the published specification of .pdsc files (1.7.32)",
    ),
}

#: The same for packages of compiled libraries.
PREBUILT = {
    "android": "zip, manifest, Prefab's metadata and the ELF files checked against what the "
    "documentation of the formats and of Android's linker asks for; the libraries of both Arm ABIs "
    "run with glibc in QEMU. Nobody tried it on Android itself",
    "linux": "built with CMake and run for the machine of the tests",
    "wheel": "installed by pip and run for the machine of the tests; taken by pip for the "
    "platforms of Raspberry Pis, whose libraries run with glibc in QEMU",
}


def label_of(form: str) -> str:
    """The label of a form of either kind."""
    return PREBUILT[form] if form in PREBUILT else LABELS[form].text
