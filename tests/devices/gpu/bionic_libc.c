/* libc.so of the stand-in for Android: bionic's function for programs that start, glibc behind it.
 * After bionic's libc_init_dynamic.cpp: `structors` has arrays of functions before and after main, of
 * which only the third, those after, are looked at. */
#include <stdint.h>
#include <stdlib.h>

int __libc_start_main(int (*main_)(int, char **, char **), int count, char **arguments,
                      void (*init)(void), void (*fini)(void), void (*at_exit)(void), void *stack);
void __libc_init(void *raw, void (*at_exit)(void), int (*slingshot)(int, char **, char **),
                 void *const *structors);

void __libc_init(void *raw, void (*at_exit)(void), int (*slingshot)(int, char **, char **),
                 void *const *structors)
{
    uintptr_t *const arguments = raw;
    (void)at_exit; /* nobody passes it */
    if (structors[2] != NULL) {
        abort();
    }
    exit(__libc_start_main(slingshot, (int)arguments[0], (char **)(arguments + 1), NULL, NULL, NULL,
                           raw));
}
