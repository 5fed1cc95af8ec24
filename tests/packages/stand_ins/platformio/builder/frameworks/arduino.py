"""The stand-in for Arduino's core, from the folder that STAND_IN_CORE names."""

import os

from SCons.Script import DefaultEnvironment

env = DefaultEnvironment()
core = os.environ["STAND_IN_CORE"]
env.Append(CPPPATH=[core], LINKFLAGS=["-T", os.path.join(core, "linker.ld")])
env.Prepend(LIBS=[env.BuildLibrary(os.path.join("$BUILD_DIR", "Core"), core)])
