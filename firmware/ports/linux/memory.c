/* zig brings these functions along; GCC's would be glibc's, which need glibc's start-up. */
#ifndef __clang__
#include "../riscv/memory.c"
#if defined(__arm__)
/* What libgcc's division calls where the divisor is 0: a fault, which is reported. */
int raise(int signal);
int raise(int signal) {
  (void)signal;
  __builtin_trap();
}
#endif
#endif
typedef int ek_not_empty_t;
