"""Android: an AAR with the library for each ABI, and Prefab's metadata for CMake and ndk-build.

Formats: developer.android.com "Anatomy of an AAR file"; google.github.io/prefab "Package
Structure".
"""

from __future__ import annotations

import json

from edgekit.packages import archives
from edgekit.packages.ctext import fill
from edgekit.packages.libraries import Libraries, papers

TITLE = "Android archive (AAR)"
ARCHIVES = (".aar", ".zip")
ARCHIVE_ROOT = True

#: ABIs by architecture. Calls pass no floating-point numbers, so that armeabi-v7a's convention for
#: them does not matter.
ABIS = {"aarch64": "arm64-v8a", "arm": "armeabi-v7a", "x86_64": "x86_64"}
#: The first version of Android with 64 bits, and the oldest that current NDKs build for.
MIN_SDK = 21
#: Vendors' libraries that apps for API 31 and later may only load where a manifest names them
#: (developer.android.com, "<uses-native-library>"): of OpenCL, and Google's own name of it.
_VENDORS = ("libOpenCL.so", "libOpenCL-pixel.so")
_USES = '        <uses-native-library android:name="{}" android:required="false" />\n'
#: What Prefab is told that the library was built with; it stands on no NDK and no STL.
_NDK = 27


def files(libraries: Libraries) -> dict[str, bytes]:
    """The AAR's files by path."""
    name = libraries.name
    module = f"prefab/modules/{name}"
    found = {
        **papers(libraries, "android", TITLE, fill("prebuilt/android.md", **_values(libraries))),
        "AndroidManifest.xml": fill("prebuilt/AndroidManifest.xml", **_values(libraries)).encode(),
        "R.txt": b"",
        "classes.jar": archives.zipped({"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\r\n\r\n"}),
        "prefab/prefab.json": _json(
            {"schema_version": 2, "name": name, "version": libraries.version, "dependencies": []}
        ),
        f"{module}/module.json": _json(
            {"export_libraries": [], "android": {"library_name": f"lib{name}"}}
        ),
    }
    for built in libraries.built:
        abi = ABIS[built.architecture]
        folder = f"{module}/libs/android.{abi}"
        library = built.files[f"lib{name}.so"]
        found[f"jni/{abi}/lib{name}.so"] = library
        found[f"{folder}/lib{name}.so"] = library
        found[f"{folder}/abi.json"] = _json(
            {"abi": abi, "api": MIN_SDK, "ndk": _NDK, "stl": "none", "static": False}
        )
        # An instance's size is the architecture's own.
        found[f"{folder}/include/{name}.h"] = libraries.header_of(built)
    return found | {f"pool/{file}": data for file, data in libraries.pool.items()}


def _values(libraries: Libraries) -> dict[str, object]:
    abis = ", ".join(ABIS[built.architecture] for built in libraries.built)
    named = "".join(_USES.format(name) for name in _VENDORS)
    return {
        **libraries.names,
        "package": f"edgekit.model_{libraries.name}",
        "abis": abis,
        "min_sdk": MIN_SDK,
        "application": f"    <application>\n{named}    </application>\n" * bool(libraries.gpus),
        "android_gpu": fill("prebuilt/android_gpu.md", **libraries.names) * bool(libraries.gpus),
    }


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
