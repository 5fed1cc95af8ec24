/* ek_a64.h - what kernels for AArch64 include: their routines are assembly, the rest is C. */
#ifndef EK_A64_H
#define EK_A64_H

#include "ek_kernel.h"

#if !defined(__aarch64__) || !defined(__AARCH64EL__)
#error "kernels of the families a64 and a64_dot are for little-endian AArch64 only"
#endif

#endif
