/* ek_gpu_loader.c - what the devices of all APIs share when they are opened: the library, a table of
 * its functions, and which device is meant. */
#include "ek_gpu_core.h"

#include <string.h>

bool ek_gpu_library_load(const ek_gpu_library_t *library, const ek_gpu_loader_t *loader,
                         const char *asked, void *table, char *why, size_t size)
{
    const bool own = asked != NULL && asked[0] != '\0';
    const char *const *names = own ? &asked : library->names;
    const uint32_t count = own ? 1u : library->name_count;
    void *loaded = NULL;
    for (uint32_t i = 0; i < count && loaded == NULL && loader != NULL; ++i) {
        loaded = loader->load(names[i]);
    }
    if (loaded == NULL) {
        ek_gpu_text_add_two(why, size, "there is no ", library->api);
        ek_gpu_text_add_two(why, size, " library: ",
                            loader == NULL ? "the program names no loader" : names[0]);
        return false;
    }
    for (uint32_t i = 0; i < library->symbol_count; ++i) {
        void *const found = loader->symbol(loaded, library->symbols[i].name);
        if (found == NULL) {
            ek_gpu_text_add_two(why, size, "the ", library->api);
            ek_gpu_text_add_two(why, size, " library lacks ", library->symbols[i].name);
            return false;
        }
        memcpy((uint8_t *)table + library->symbols[i].at, &found, sizeof found);
    }
    return true;
}

uint32_t ek_gpu_suits(bool gpu, const char *platform, const char *name, const char *asked)
{
    char text[512] = "";
    if (asked == NULL || asked[0] == '\0') {
        return gpu ? 2u : 1u;
    }
    if (ek_gpu_text_is(asked, "gpu")) {
        return gpu ? 2u : 0u;
    }
    ek_gpu_text_add_two(text, sizeof text, platform, " / ");
    ek_gpu_text_add(text, sizeof text, name);
    return ek_gpu_text_has(text, asked) ? 2u : 0u;
}

bool ek_gpu_no_device(char *why, size_t size, const char *nothing, const char *api,
                      const char *asked)
{
    if (nothing != NULL) {
        ek_gpu_text_add(why, size, nothing);
        return false;
    }
    ek_gpu_text_add_two(why, size, api, " has no device that fits ");
    ek_gpu_text_add(why, size, asked == NULL ? "" : asked);
    return false;
}
