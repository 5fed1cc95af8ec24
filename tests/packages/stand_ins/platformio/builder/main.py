"""GCC for the Cortex-M4 in QEMU."""

from SCons.Script import Default, DefaultEnvironment

PREFIX = "arm-none-eabi-"
CPU = ["-mthumb", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]

env = DefaultEnvironment()
env.Replace(
    AR=PREFIX + "gcc-ar",
    AS=PREFIX + "as",
    CC=PREFIX + "gcc",
    CXX=PREFIX + "g++",
    RANLIB=PREFIX + "gcc-ranlib",
    PROGSUFFIX=".elf",
)
env.Append(
    ASFLAGS=CPU,
    ASPPFLAGS=["-x", "assembler-with-cpp"],
    CCFLAGS=[*CPU, "-Os", "-Wall", "-Wextra", "-Werror"],
    CXXFLAGS=["-fno-exceptions", "-fno-rtti"],
    LINKFLAGS=[*CPU, "-nostdlib", "-Wl,--gc-sections", "-Wl,-e,Reset_Handler"],
    LIBS=["c", "gcc"],
)
Default(env.Alias("buildprog", env.BuildProgram()))
