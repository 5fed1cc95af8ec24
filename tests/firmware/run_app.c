/* run_app.c - a model as ek_app.h offers it: samples from stdin, outputs to stdout. */
#include <stdio.h>

#include "ek_app.h"

#ifdef WITH_BUNDLE
#include <stddef.h>
void ek_host_bundle(const void *data, size_t nbytes);
static unsigned char bundle[4u << 20] __attribute__((aligned(16)));
#endif

int main(int argc, char **argv)
{
    ek_app_info_t info;
    uint32_t in_bytes = 0, out_bytes = 0;
#ifdef WITH_BUNDLE
    FILE *f = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (f == NULL) {
        return 2;
    }
    ek_host_bundle(bundle, fread(bundle, 1, sizeof bundle, f));
    fclose(f);
#else
    (void)argc;
    (void)argv;
#endif
    if (ek_app_open(&info) != 0) {
        return 3;
    }
    while (fread(ek_app_input(0, &in_bytes), 1, (ek_app_input(0, &in_bytes), in_bytes), stdin) ==
           in_bytes) {
        if (ek_app_invoke() != 0) {
            return 4;
        }
        const uint8_t *y = ek_app_output(0, &out_bytes);
        fwrite(y, 1, out_bytes, stdout);
    }
    return 0;
}
