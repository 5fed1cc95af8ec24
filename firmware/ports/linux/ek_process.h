/* What the files of a static program share: its stack, and instructions that may not be there. */
#ifndef EK_PROCESS_H
#define EK_PROCESS_H

#include <stdint.h>

/* The page that nobody may touch, below the stack. */
void ek_guard_page(const uint8_t **start, const uint8_t **end);

#if !defined(__x86_64__)
/* Whether an instruction of four bytes may be executed here. Call ek_guard_begin, execute it, and
 * ask ek_guard_end: false where it trapped and was skipped. */
void ek_guard_begin(void);
int ek_guard_end(void);
#endif

#endif
