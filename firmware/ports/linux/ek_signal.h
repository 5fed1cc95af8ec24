/* Signals of a CPU's faults, as the link protocol tells them. */
#ifndef EK_SIGNAL_H
#define EK_SIGNAL_H

#include <stdint.h>

enum { SIGILL = 4, SIGBUS = 7, SIGFPE = 8, SIGKILL = 9, SIGSEGV = 11 };

/* Call `handler` for SIGILL, SIGBUS, SIGFPE and SIGSEGV, on a stack of its own: with the signal, a
 * siginfo_t and a ucontext_t. 0 where the kernel takes it. */
int ek_signal_open(void (*handler)(int, const uint8_t *, uint8_t *), uint8_t *stack,
                   uintptr_t stack_bytes);

/* The kinds of fault that the link protocol knows are the bits of Armv7-M's CFSR. */
uint32_t ek_signal_kind(int signal);

/* Be killed when the parent ends: a remote program whose connection breaks must not compute on. */
void ek_signal_die_with_parent(void);

#endif
