/* ek_yield.h - a hook between the kernels of one inference, for systems that run other things
 * meanwhile; nothing at all in builds that ask for none. docs/RUNTIME.md has examples.
 *
 * Two ways to ask:
 *   -DEK_YIELD_HOOK      calls ek_yield(done), which the program defines;
 *   a macro EK_YIELD(done), from the command line or a header given with -include.
 *
 * `done` is how many kernels have run, from 1 to one less than there are.
 */
#ifndef EK_YIELD_H
#define EK_YIELD_H

#include <stdint.h>

#if defined(EK_YIELD_HOOK) && !defined(EK_YIELD)
#ifdef __cplusplus
extern "C" {
#endif
void ek_yield(uint32_t done);
#ifdef __cplusplus
}
#endif
#define EK_YIELD(done) ek_yield(done)
#endif

#ifndef EK_YIELD
#define EK_YIELD(done) ((void)0)
#endif

#endif
