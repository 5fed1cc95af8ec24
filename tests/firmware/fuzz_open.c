/* fuzz_open.c - gives bundles that are anything to the runtime; built with sanitizers.
 *
 *   fuzz_open truncate FILE              every prefix must be refused as cut off
 *   fuzz_open truncate-sealed FILE       every prefix with a footer that fits it
 *   fuzz_open flip FILE                  every single flipped bit must be refused
 *   fuzz_open flip-sealed FILE           the same with the checksum made right again
 *   fuzz_open random FILE SEED COUNT     random bytes changed, checksum made right
 *   fuzz_open operands FILE              every operand of every call in a buffer of its own size
 *   fuzz_open run FILE INPUT             one inference; outputs go to stdout
 *   fuzz_open open FILE ARENA SHIFT_ARENA SHIFT_BUNDLE SLOTS KERNELS...
 *                                        prints the status; -1 stands for what fits
 *
 * Bundles and arenas are heap blocks of exactly their size: one byte beyond is a finding. Whatever
 * opens is used: inputs written, invoked, outputs read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ek_bundle.h"

extern const ek_kernel_t ek_kernels[];
extern const uint32_t ek_kernel_count;

#define MAX_SLOTS 16u
#define FOOTER 16u

typedef struct {
    uint8_t *data;
    uint32_t size;
} block_t;

static volatile uint32_t sink; /* keeps reads from being optimised away */
static uint32_t opened_count, ran_count;

static void die(const char *what, uint32_t a, uint32_t b)
{
    (void)fprintf(stderr, "fuzz_open: %s (%u, %u)\n", what, (unsigned)a, (unsigned)b);
    exit(1);
}

static block_t block(uint32_t size)
{
    void *p = NULL;
    if (posix_memalign(&p, 16, size == 0u ? 1u : size) != 0) {
        die("out of memory", size, 0u);
    }
    const block_t b = {p, size};
    return b;
}

static block_t load(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END) != 0) {
        die("cannot read a file", 0u, 0u);
    }
    const block_t b = block((uint32_t)ftell(f));
    rewind(f);
    if (fread(b.data, 1, b.size, f) != b.size) {
        die("cannot read a file", 1u, b.size);
    }
    (void)fclose(f);
    return b;
}

/* A CRC of its own, so that it is also a check of the runtime's. */
static uint32_t crc_table[256];
static void make_crc_table(void)
{
    for (uint32_t i = 0; i < 256u; ++i) {
        uint32_t c = i;
        for (int32_t k = 0; k < 8; ++k) {
            c = (c & 1u) != 0u ? 0xEDB88320u ^ (c >> 1) : c >> 1;
        }
        crc_table[i] = c;
    }
}

static void put32(uint8_t *p, uint32_t v)
{
    for (uint32_t i = 0; i < 4u; ++i) {
        p[i] = (uint8_t)(v >> (8u * i));
    }
}

static void seal(block_t b)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (uint32_t i = 0; i < b.size - 4u; ++i) {
        crc = crc_table[(crc ^ b.data[i]) & 255u] ^ (crc >> 8);
    }
    put32(b.data + b.size - 4u, ~crc);
}

static ek_status_t open_in(ek_model_t *m, block_t bundle, const ek_kernel_t **slots, block_t arena)
{
    return ek_open(m, bundle.data, bundle.size, ek_kernels, ek_kernel_count, slots, MAX_SLOTS,
                   arena.data, arena.size);
}

/* Everything that a caller does with an opened model. */
static void use(const ek_model_t *m)
{
    uint32_t nbytes = 0u, sum = 0u;
    for (uint32_t i = 0; ek_input(m, i, &nbytes) != NULL; ++i) {
        memset(ek_input(m, i, NULL), (int)(17u * i + 3u), nbytes);
    }
    if (ek_invoke(m) != EK_OK) {
        die("an opened model does not run", m->call_count, 0u);
    }
    const uint8_t *out;
    for (uint32_t i = 0; (out = ek_output(m, i, &nbytes)) != NULL; ++i) {
        for (uint32_t j = 0; j < nbytes; ++j) {
            sum += out[j];
        }
    }
    sink = sum;
    ++ran_count;
}

/* Whether two openings of the same buffer would execute the same: places, counts and lists. */
static int same_program(const ek_model_t *a, const ek_model_t *b, const uint8_t *lists)
{
    return a->calls == b->calls && a->arguments == b->arguments && a->constants == b->constants &&
           a->inputs == b->inputs && a->outputs == b->outputs && a->call_count == b->call_count &&
           a->argument_count == b->argument_count && a->arena_bytes == b->arena_bytes &&
           a->constant_bytes == b->constant_bytes && a->input_count == b->input_count &&
           a->output_count == b->output_count &&
           memcmp(b->calls, lists, EK_CALL_BYTES * a->call_count) == 0 &&
           memcmp(b->arguments, lists + EK_CALL_BYTES * a->call_count,
                  EK_ARGUMENT_BYTES * a->argument_count) == 0;
}

/* Open `bundle`; where that works use it, in an arena of just the size that it asks for. Every
 * `rate`th that executes the same as the original is used too: its constants may differ. */
static void try_bundle(block_t bundle, block_t arena, const ek_model_t *original,
                       const uint8_t *lists, uint32_t rate)
{
    const ek_kernel_t *slots[MAX_SLOTS];
    ek_model_t m;
    memset(&m, 0xA5, sizeof m);
    const ek_status_t status = open_in(&m, bundle, slots, arena);
    if (status != EK_OK) {
        if (m.arena != NULL || ek_invoke(&m) != EK_STATE || ek_input(&m, 0u, NULL) != NULL ||
            ek_output(&m, 0u, NULL) != NULL) {
            die("a refused model is open", (uint32_t)status, 0u);
        }
        return;
    }
    ++opened_count;
    if (same_program(original, &m, lists) && opened_count % rate != 0u) {
        return;
    }
    if (m.arena_bytes == arena.size) {
        use(&m);
        return;
    }
    const block_t exact = block(m.arena_bytes);
    if (open_in(&m, bundle, slots, exact) != EK_OK) {
        die("does not open in the arena that it asks for", m.arena_bytes, 0u);
    }
    use(&m);
    free(exact.data);
}

static void truncations(block_t file, block_t arena)
{
    for (uint32_t n = 0; n < file.size; ++n) {
        const ek_kernel_t *slots[MAX_SLOTS];
        ek_model_t m;
        const block_t cut = block(n);
        memcpy(cut.data, file.data, n);
        const block_t exact = {cut.data, n};
        const ek_status_t status = open_in(&m, exact, slots, arena);
        if (status != EK_TRUNCATED) {
            die("a prefix is not refused as cut off", n, (uint32_t)status);
        }
        free(cut.data);
    }
    (void)printf("%u\n", (unsigned)file.size);
}

/* Cut as an attacker cuts: what is left has the right length, version and checksum. */
static void sealed_truncations(block_t file, block_t arena, const ek_model_t *original,
                               const uint8_t *lists)
{
    for (uint32_t n = FOOTER; n < file.size; ++n) {
        const block_t cut = block(n);
        memcpy(cut.data, file.data, n - FOOTER);
        memcpy(cut.data + n - FOOTER, file.data + file.size - FOOTER, FOOTER);
        put32(cut.data + n - FOOTER + 8u, n - FOOTER);
        seal(cut);
        try_bundle(cut, arena, original, lists, 1u);
        free(cut.data);
    }
    (void)printf("%u %u %u\n", (unsigned)(file.size - FOOTER), (unsigned)opened_count,
                 (unsigned)ran_count);
}

static void flips(block_t file, block_t arena)
{
    for (uint32_t i = 0; i < file.size * 8u; ++i) {
        const ek_kernel_t *slots[MAX_SLOTS];
        ek_model_t m;
        file.data[i / 8u] ^= (uint8_t)(1u << (i % 8u));
        const ek_status_t status = open_in(&m, file, slots, arena);
        if (status < EK_TRUNCATED || status > EK_CHECKSUM) {
            die("a flipped bit is not refused", i, (uint32_t)status);
        }
        file.data[i / 8u] ^= (uint8_t)(1u << (i % 8u));
    }
    (void)printf("%u\n", (unsigned)(file.size * 8u));
}

static void sealed_flips(block_t file, block_t arena, const ek_model_t *original,
                         const uint8_t *lists)
{
    const uint32_t bits = (file.size - FOOTER) * 8u;
    for (uint32_t i = 0; i < bits; ++i) {
        file.data[i / 8u] ^= (uint8_t)(1u << (i % 8u));
        seal(file);
        try_bundle(file, arena, original, lists, 97u);
        file.data[i / 8u] ^= (uint8_t)(1u << (i % 8u));
    }
    (void)printf("%u %u %u\n", (unsigned)bits, (unsigned)opened_count, (unsigned)ran_count);
}

static uint32_t next_random(uint64_t *state)
{
    /* Knuth's MMIX generator, its upper half. */
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 32);
}

static void random_changes(block_t file, block_t arena, const ek_model_t *original,
                           const uint8_t *lists, uint64_t seed, uint32_t count)
{
    static const uint32_t telling[] = {0u,  1u,  2u,  4u,  8u, 15u, 16u, 255u, 0x7FFFFFFFu,
                                       0x80000000u, 0xFFFFFFFFu, 0xFFFFFFFCu, 0xFFFFFFF0u};
    uint8_t *const clean = malloc(file.size);
    memcpy(clean, file.data, file.size);
    for (uint32_t i = 0; i < count; ++i) {
        const uint32_t changes = 1u + next_random(&seed) % 4u;
        for (uint32_t k = 0; k < changes; ++k) {
            const uint32_t at = next_random(&seed) % (file.size - FOOTER);
            const uint32_t kind = next_random(&seed) % 4u;
            uint8_t *const word = file.data + (at & ~3u);
            if (kind == 0u) {
                file.data[at] = (uint8_t)next_random(&seed);
            } else if (kind == 1u) {
                put32(word, telling[next_random(&seed) % (sizeof telling / sizeof *telling)]);
            } else if (kind == 2u) {
                put32(word, ek_get32(word) + next_random(&seed) % 33u - 16u);
            } else {
                put32(word, next_random(&seed) % (2u * file.size));
            }
        }
        seal(file);
        try_bundle(file, arena, original, lists, 97u);
        memcpy(file.data, clean, file.size);
    }
    free(clean);
    (void)printf("%u %u %u\n", (unsigned)count, (unsigned)opened_count, (unsigned)ran_count);
}

/* What the verifier relies on: a kernel stays within the sizes that its operands declare. */
static void exact_operands(const ek_model_t *m)
{
    for (uint32_t i = 0; i < m->call_count; ++i) {
        const ek_call_t call = ek_get_call(m, i);
        const ek_kernel_t *kernel = m->kernels[call.kernel];
        void *pointers[EK_MAX_ARGUMENTS];
        for (uint32_t j = 0; j < call.argument_count; ++j) {
            const ek_argument_t a = ek_get_argument(m, call.first_argument + j);
            const block_t own = block(kernel->operands[j].nbytes);
            if (a.space == EK_SPACE_CONSTANTS) {
                memcpy(own.data, m->constants + a.offset, own.size);
            } else {
                memset(own.data, (int)(0x80u + 37u * j), own.size);
            }
            pointers[j] = own.data;
        }
        kernel->run(pointers);
        for (uint32_t j = 0; j < call.argument_count; ++j) {
            free(pointers[j]);
        }
    }
    (void)printf("%u\n", (unsigned)m->call_count);
}

static void run(const ek_model_t *m, const char *path)
{
    const block_t input = load(path);
    uint32_t nbytes = 0u;
    uint8_t *const place = ek_input(m, 0u, &nbytes);
    if (place == NULL || nbytes != input.size) {
        die("the input has another size", nbytes, input.size);
    }
    memcpy(place, input.data, nbytes);
    if (ek_invoke(m) != EK_OK) {
        die("does not run", 0u, 0u);
    }
    const uint8_t *out;
    for (uint32_t i = 0; (out = ek_output(m, i, &nbytes)) != NULL; ++i) {
        (void)fwrite(out, 1, nbytes, stdout);
    }
    free(input.data);
}

/* Fits `bundle` in all respects but those that the arguments choose. */
static void open_badly(block_t file, char **arguments, int count)
{
    long value[5] = {-1, 0, 0, -1, -1};
    for (int i = 0; i < count && i < 5; ++i) {
        value[i] = strtol(arguments[i], NULL, 10);
    }
    const ek_kernel_t *slots[MAX_SLOTS] = {NULL};
    ek_model_t m;
    const uint32_t arena_bytes = value[0] < 0 ? 1u << 16 : (uint32_t)value[0];
    const block_t arena = block(arena_bytes + (uint32_t)value[1]);
    const block_t bundle = block(file.size + (uint32_t)value[2]);
    memcpy(bundle.data + value[2], file.data, file.size);
    const ek_status_t status =
        ek_open(&m, bundle.data + value[2], file.size, ek_kernels,
                value[4] < 0 ? ek_kernel_count : (uint32_t)value[4], slots,
                value[3] < 0 ? MAX_SLOTS : (uint32_t)value[3], arena.data + value[1], arena_bytes);
    if (status == EK_OK) {
        use(&m);
    } else if (ek_invoke(&m) != EK_STATE) {
        die("a refused model runs", (uint32_t)status, 0u);
    }
    (void)printf("%u %u %u\n", (unsigned)status, (unsigned)m.detail, (unsigned)m.arena_bytes);
    free(arena.data);
    free(bundle.data);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        die("usage: fuzz_open MODE FILE ...", 0u, 0u);
    }
    const char *mode = argv[1];
    const block_t file = load(argv[2]);
    if (strcmp(mode, "open") == 0) {
        open_badly(file, argv + 3, argc - 3);
        free(file.data);
        return 0;
    }
    make_crc_table();
    const ek_kernel_t *slots[MAX_SLOTS];
    ek_model_t m;
    memset(&m, 0, sizeof m);
    if (ek_invoke(&m) != EK_STATE || ek_input(&m, 0u, NULL) != NULL ||
        ek_output(&m, 0u, NULL) != NULL) {
        die("a model runs before it is open", 0u, 0u);
    }
    block_t arena = block(1u << 16);
    ek_status_t status = open_in(&m, file, slots, arena);
    free(arena.data);
    if (status == EK_OK) {
        arena = block(m.arena_bytes);
        status = open_in(&m, file, slots, arena);
    }
    if (status != EK_OK) {
        die("the original is refused", (uint32_t)status, m.detail);
    }
    const uint32_t call_bytes = EK_CALL_BYTES * m.call_count;
    uint8_t *const lists = malloc(call_bytes + EK_ARGUMENT_BYTES * m.argument_count);
    memcpy(lists, m.calls, call_bytes);
    memcpy(lists + call_bytes, m.arguments, EK_ARGUMENT_BYTES * m.argument_count);
    if (strcmp(mode, "truncate") == 0) {
        truncations(file, arena);
    } else if (strcmp(mode, "truncate-sealed") == 0) {
        sealed_truncations(file, arena, &m, lists);
    } else if (strcmp(mode, "flip") == 0) {
        flips(file, arena);
    } else if (strcmp(mode, "flip-sealed") == 0) {
        sealed_flips(file, arena, &m, lists);
    } else if (strcmp(mode, "random") == 0 && argc == 5) {
        random_changes(file, arena, &m, lists, strtoull(argv[3], NULL, 10),
                       (uint32_t)strtoul(argv[4], NULL, 10));
    } else if (strcmp(mode, "operands") == 0) {
        exact_operands(&m);
    } else if (strcmp(mode, "run") == 0 && argc == 4) {
        run(&m, argv[3]);
    } else {
        die("unknown mode", 0u, 0u);
    }
    free(lists);
    free(arena.data);
    free(file.data);
    return 0;
}
