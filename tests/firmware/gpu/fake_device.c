#include "fake_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The value of a word of EK_FAKE, NULL where it is not there; "" where it has none. */
static const char *script(const char *word)
{
    static char found[64];
    const char *text = getenv("EK_FAKE");
    const size_t length = strlen(word);
    while (text != NULL && *text != '\0') {
        const size_t n = strcspn(text, " ");
        if (n >= length && memcmp(text, word, length) == 0 &&
            (n == length || text[length] == '=')) {
            const size_t rest = n == length ? 0u : n - length - 1u;
            memcpy(found, text + n - rest, rest);
            found[rest] = '\0';
            return found;
        }
        text += n + (text[n] == ' ' ? 1u : 0u);
    }
    return NULL;
}

static uint32_t number(const char *word)
{
    const char *text = script(word);
    return text == NULL ? 0u : (uint32_t)strtoul(text, NULL, 10);
}

static bool has(ek_gpu_bytes_t text, const char *word)
{
    const char *wanted = script(word);
    const size_t n = wanted == NULL ? 0u : strlen(wanted);
    for (size_t i = 0; wanted != NULL && i + n <= text.nbytes; ++i) {
        if (memcmp(text.data + i, wanted, n) == 0) {
            return true;
        }
    }
    return false;
}

static uint8_t *at(fake_t *f, uint32_t place)
{
    const ek_gpu_place_t *p = &f->memory.places[place];
    if (place >= f->memory.place_count) {
        abort();
    }
    return p->space == EK_GPU_ARENA ? f->arena + p->offset
                                    : (uint8_t *)(uintptr_t)f->memory.constants.data + p->offset;
}

static ek_gpu_result_t fake_memory(void *self, const ek_gpu_memory_t *memory)
{
    fake_t *f = self;
    f->memory = *memory;
    f->arena = malloc(memory->arena_bytes + 1u);
    return script("nomemory") != NULL ? EK_GPU_REFUSED : EK_GPU_OK;
}

static ek_gpu_result_t fake_build(void *self, const ek_gpu_code_t *code)
{
    fake_t *f = self;
    f->functions = code->functions;
    f->built = true;
    f->builds += 1u;
    f->wanted = 0u;
    for (uint32_t i = 0; i < code->function_count; ++i) {
        f->wanted += code->functions[i].wanted ? 1u : 0u;
    }
    return script("nobuild") != NULL ? EK_GPU_REFUSED : EK_GPU_OK;
}

static bool fake_built(void *self, uint32_t function, const char **said)
{
    fake_t *f = self;
    *said = "1:1: error: no such thing";
    return f->functions[function].wanted && !has(f->functions[function].source, "uncompiled");
}

static ek_gpu_result_t fake_write(void *self, uint32_t place, const void *data, uint32_t nbytes)
{
    fake_t *f = self;
    if (f->gone) {
        return EK_GPU_GONE;
    }
    if (nbytes > f->memory.places[place].nbytes) {
        abort();
    }
    memcpy(at(f, place), data, nbytes);
    return EK_GPU_OK;
}

static ek_gpu_result_t fake_read(void *self, uint32_t place, void *data, uint32_t nbytes)
{
    fake_t *f = self;
    if (f->gone) {
        return EK_GPU_GONE;
    }
    memcpy(data, at(f, place), nbytes);
    return EK_GPU_OK;
}

static uint8_t *fake_map(void *self, uint32_t place, bool writing)
{
    fake_t *f = self;
    (void)writing;
    if (f->mapped != 0u) {
        abort();
    }
    if (f->gone) {
        return NULL;
    }
    f->mapped = place + 1u;
    return at(f, place);
}

static ek_gpu_result_t fake_unmap(void *self, uint32_t place)
{
    fake_t *f = self;
    if (f->mapped != place + 1u) {
        abort();
    }
    f->mapped = 0u;
    return EK_GPU_OK;
}

/* y = x + w, or "copy": y = x; of the bytes of the output. */
static ek_gpu_result_t fake_launch(void *self, uint32_t function, const uint32_t *places,
                                   uint32_t count, const uint32_t items[3], const uint32_t group[3],
                                   uint32_t event)
{
    fake_t *f = self;
    const ek_gpu_bytes_t source = f->functions[function].source;
    const uint32_t most = number("refuse") + number("limit");
    const uint32_t nbytes = f->memory.places[places[count - 1u]].nbytes;
    const int8_t *x = (const int8_t *)at(f, places[0]);
    const int8_t *w = (const int8_t *)at(f, places[1]);
    int8_t *y = (int8_t *)at(f, places[count - 1u]);
    (void)items;
    (void)event;
    f->launches += 1u;
    if (f->mapped != 0u) {
        abort();
    }
    if (f->launches == number("die")) {
        f->gone = true;
    }
    if (f->launches == number("slow")) {
        f->slow = true;
    }
    if (f->gone) {
        return EK_GPU_GONE;
    }
    if (most != 0u && group[0] * group[1] * group[2] > most) {
        return EK_GPU_REFUSED;
    }
    if (has(source, "lazy")) {
        return EK_GPU_OK;
    }
    for (uint32_t i = 0; i + (has(source, "gap") ? 1u : 0u) < nbytes; ++i) {
        y[i] = (int8_t)(x[i] + w[i]);
    }
    if (has(source, "wrong")) {
        y[nbytes / 2u] = (int8_t)(y[nbytes / 2u] + 1);
    }
    return EK_GPU_OK;
}

static ek_gpu_result_t fake_flush(void *self)
{
    fake_t *f = self;
    return f->gone ? EK_GPU_GONE : EK_GPU_OK;
}

static ek_gpu_result_t fake_wait(void *self, uint32_t patience_ms)
{
    fake_t *f = self;
    (void)patience_ms;
    if (f->slow) {
        f->slow = false;
        f->gone = true;
        return EK_GPU_TOO_SLOW;
    }
    return f->gone ? EK_GPU_GONE : EK_GPU_OK;
}

static uint64_t fake_elapsed(void *self, uint32_t event)
{
    (void)self;
    return 1000u + event;
}

static void fake_close(void *self)
{
    fake_t *f = self;
    free(f->arena);
}

ek_gpu_device_t *fake_open(fake_t *f)
{
    ek_gpu_device_t *d = &f->device;
    memset(f, 0, sizeof *f);
    d->self = f;
    (void)snprintf(d->info.api, sizeof d->info.api, "Fake");
    (void)snprintf(d->info.name, sizeof d->info.name, "%s",
                   script("name") != NULL ? script("name") : "fake device");
    (void)snprintf(d->info.driver, sizeof d->info.driver, "1.0");
    d->info.features = number("features");
    d->info.group_items = number("limit");
    d->info.unified = script("discrete") == NULL;
    d->info.timed = true;
    d->memory = fake_memory;
    d->build = fake_build;
    d->built = fake_built;
    d->write = fake_write;
    d->read = fake_read;
    d->map = d->info.unified ? fake_map : NULL;
    d->unmap = d->info.unified ? fake_unmap : NULL;
    d->launch = fake_launch;
    d->flush = fake_flush;
    d->wait = fake_wait;
    d->elapsed = fake_elapsed;
    d->close = fake_close;
    return d;
}
