/* ek_gpu_kept.c - what is known of a device before it is tried: results of earlier self-tests, and the
 * choices of a tuner. docs/GPU.md has both formats. */
#include "ek_gpu_core.h"
#include "ek_gpu_runtime.h"

#include <string.h>

enum { PATH = 1024, LINE = 256, HEAD = 288 };

/* ---- results: the key, what became of every variant, choices, a CRC-32 */

static const char magic[8] = {'E', 'K', 'G', 'T', 'E', 'S', 'T', '1'};

typedef struct {
    uint8_t *at, *end;
} cursor_t;

static void put(cursor_t *c, const void *data, uint32_t nbytes)
{
    memcpy(c->at, data, nbytes);
    c->at += nbytes;
}

static void put_word(cursor_t *c, uint32_t word) { put(c, &word, sizeof word); }

/* Everything that results depend on. Unused bytes of names are zero. */
static uint32_t put_key(const ek_gpu_t *gpu, uint8_t *key)
{
    const ek_gpu_info_t *info = &gpu->device->info;
    const uint64_t runtime = EK_GPU_RUNTIME;
    cursor_t c = {key, key + HEAD};
    put(&c, magic, sizeof magic);
    put(&c, &runtime, sizeof runtime);
    put(&c, info->api, sizeof info->api);
    put(&c, info->name, sizeof info->name);
    put(&c, info->driver, sizeof info->driver);
    put_word(&c, info->features);
    put(&c, gpu->model->hash, sizeof gpu->model->hash);
    put_word(&c, gpu->tuning_hash);
    put_word(&c, gpu->section.variant_count);
    put_word(&c, gpu->section.layer_count);
    put_word(&c, gpu->section.launch_count);
    return (uint32_t)(c.at - key);
}

uint32_t ek_gpu_results_bytes(const ek_gpu_section_t *s)
{
    return HEAD + 8u + s->variant_count * (uint32_t)sizeof(ek_gpu_trial_t) + 4u * s->layer_count +
           s->launch_count;
}

static bool results_path(const ek_gpu_t *gpu, char *path, size_t size)
{
    uint8_t key[HEAD];
    if (gpu->options.folder == NULL || gpu->options.folder[0] == '\0') {
        return false;
    }
    path[0] = '\0';
    ek_gpu_text_add(path, size, gpu->options.folder);
    ek_gpu_text_add(path, size, "/gpu-test-");
    ek_gpu_text_hash(path, size, ek_gpu_hash(0u, key, put_key(gpu, key)));
    return ek_gpu_text_bytes_of(path) + 1u < size;
}

/* Whether choices are what a test can have found. */
static bool plausible(const ek_gpu_t *gpu, bool complete)
{
    const ek_gpu_section_t *s = &gpu->section;
    for (uint32_t i = 0; i < s->variant_count; ++i) {
        if (gpu->trials[i].verdict > (uint32_t)EK_GPU_WRONG_WHOLE) {
            return false;
        }
    }
    for (uint32_t i = 0; i < s->layer_count && complete; ++i) {
        const ek_gpu_layer_t layer = ek_gpu_get_layer(s, i);
        const uint32_t choice = gpu->choices[i];
        if (choice != EK_GPU_ON_CPU &&
            (choice < layer.first_variant ||
             choice - layer.first_variant >= layer.variant_count ||
             gpu->trials[choice].verdict != (uint32_t)EK_GPU_RIGHT)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < s->launch_count; ++i) {
        if (gpu->sizes[i] >= ek_gpu_get_launch(s, i).size_count) {
            return false;
        }
    }
    return true;
}

static void get(const uint8_t **from, void *data, uint32_t nbytes)
{
    memcpy(data, *from, nbytes);
    *from += nbytes;
}

bool ek_gpu_load_results(ek_gpu_t *gpu, bool *complete)
{
    const ek_gpu_section_t *s = &gpu->section;
    char path[PATH];
    uint8_t key[HEAD];
    uint32_t word, flag;
    *complete = false;
    if (!results_path(gpu, path, sizeof path)) {
        return false;
    }
    const uint32_t key_bytes = put_key(gpu, key);
    const uint32_t found = ek_file_read(path, gpu->file, gpu->file_bytes);
    const uint32_t wanted = ek_gpu_results_bytes(s) - HEAD + key_bytes;
    if (found == 0u) {
        return false;
    }
    bool good = found == wanted && memcmp(gpu->file, key, key_bytes) == 0;
    if (good) {
        memcpy(&word, gpu->file + found - 4u, sizeof word);
        good = word == ek_gpu_crc32(gpu->file, found - 4u);
    }
    if (good) {
        const uint8_t *from = gpu->file + key_bytes;
        get(&from, &flag, sizeof flag);
        get(&from, gpu->trials, s->variant_count * (uint32_t)sizeof(ek_gpu_trial_t));
        get(&from, gpu->choices, 4u * s->layer_count);
        get(&from, gpu->sizes, s->launch_count);
        *complete = flag == 1u;
        good = flag <= 1u && plausible(gpu, *complete);
    }
    if (!good) {
        ek_gpu_say(gpu, "the kept results of the self-test are damaged: testing again");
        memset(gpu->trials, 0, s->variant_count * sizeof(ek_gpu_trial_t));
        *complete = false;
    }
    return good;
}

void ek_gpu_store_results(ek_gpu_t *gpu, bool complete)
{
    const ek_gpu_section_t *s = &gpu->section;
    char path[PATH];
    if (!results_path(gpu, path, sizeof path)) {
        return;
    }
    cursor_t c = {gpu->file + put_key(gpu, gpu->file), gpu->file + gpu->file_bytes};
    put_word(&c, complete ? 1u : 0u);
    put(&c, gpu->trials, s->variant_count * (uint32_t)sizeof(ek_gpu_trial_t));
    put(&c, gpu->choices, 4u * s->layer_count);
    put(&c, gpu->sizes, s->launch_count);
    put_word(&c, ek_gpu_crc32(gpu->file, (uint32_t)(c.at - gpu->file)));
    if (!ek_file_write(path, gpu->file, (uint32_t)(c.at - gpu->file))) {
        ek_gpu_say(gpu, "the results of the self-test cannot be kept: the next start tests again");
    }
}

/* ---- choices: lines of text, the last with a CRC-32 of those before */

/* The rest of a line after `word` and a space, of `n` bytes; false where it begins otherwise. */
static bool after(const char **line, uint32_t *n, const char *word)
{
    const uint32_t length = (uint32_t)ek_gpu_text_bytes_of(word);
    if (*n <= length || memcmp(*line, word, length) != 0 || (*line)[length] != ' ') {
        return false;
    }
    *line += length + 1u;
    *n -= length + 1u;
    return true;
}

/* A number that ends with `stop`, which is passed over. */
static bool number(const char **line, uint32_t *n, char stop, uint32_t *value)
{
    uint32_t digits = 0u;
    *value = 0u;
    while (digits < *n && (*line)[digits] >= '0' && (*line)[digits] <= '9' && digits < 8u) {
        *value = *value * 10u + (uint32_t)((*line)[digits] - '0');
        digits += 1u;
    }
    if (digits == 0u || digits == *n || (*line)[digits] != stop) {
        return false;
    }
    *line += digits + 1u;
    *n -= digits + 1u;
    return true;
}

static bool same(const char *line, uint32_t n, const char *text)
{
    return n == ek_gpu_text_bytes_of(text) && memcmp(line, text, n) == 0;
}

/* "LAYER LAUNCHES X,Y,Z ... VARIANT". */
static bool take_layer(ek_gpu_t *gpu, const char *line, uint32_t n)
{
    const ek_gpu_section_t *s = &gpu->section;
    uint32_t index, launches, sizes[EK_GPU_ARGUMENTS][3];
    if (!number(&line, &n, ' ', &index) || index >= s->layer_count ||
        !number(&line, &n, ' ', &launches) || launches > EK_GPU_ARGUMENTS) {
        return false;
    }
    for (uint32_t i = 0; i < launches; ++i) {
        if (!number(&line, &n, ',', &sizes[i][0]) || !number(&line, &n, ',', &sizes[i][1]) ||
            !number(&line, &n, ' ', &sizes[i][2])) {
            return false;
        }
    }
    const ek_gpu_layer_t layer = ek_gpu_get_layer(s, index);
    for (uint32_t v = layer.first_variant; v < layer.first_variant + layer.variant_count; ++v) {
        const ek_gpu_variant_t variant = ek_gpu_get_variant(s, v);
        if (variant.name.nbytes != n || memcmp(variant.name.data, line, n) != 0 ||
            variant.launch_count != launches) {
            continue;
        }
        for (uint32_t i = 0; i < launches; ++i) {
            const ek_gpu_launch_t l = ek_gpu_get_launch(s, variant.first_launch + i);
            uint32_t size[3], j = 0u;
            for (; j < l.size_count; ++j) {
                ek_gpu_get_size(s, l.first_size + j, size);
                if (memcmp(size, sizes[i], sizeof size) == 0) {
                    break;
                }
            }
            if (j == l.size_count) {
                return false;
            }
            gpu->preferred_sizes[variant.first_launch + i] = (uint8_t)j;
        }
        gpu->preferred[index] = v;
        return true;
    }
    return false;
}

static bool take_end(const char *line, uint32_t n, const uint8_t *data, uint32_t before)
{
    uint32_t crc = 0u;
    for (uint32_t i = 0; i < n; ++i) {
        const char c = line[i];
        const uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                               : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10u
                                                      : 16u;
        if (digit > 15u || n != 8u) {
            return false;
        }
        crc = crc << 4 | digit;
    }
    return n == 8u && crc == ek_gpu_crc32(data, before);
}

/* One line, by its number from 0; NULL where it is in order, else what is wrong. */
static const char *take_line(ek_gpu_t *gpu, uint32_t index, const char *line, uint32_t n)
{
    char hash[24] = "";
    if (index == 0u) {
        return same(line, n, "edgekit-tuning 1") ? NULL : "it is no tuning file of this version";
    }
    if (index == 1u) {
        return after(&line, &n, "device") && same(line, n, gpu->device->info.name)
                   ? NULL : "it is for another device";
    }
    if (index == 2u) {
        return after(&line, &n, "driver") && same(line, n, gpu->device->info.driver)
                   ? NULL : "it is for another driver";
    }
    if (index == 3u) {
        uint64_t value = 0u;
        for (uint32_t i = 0; i < 8u; ++i) {
            value = value << 8 | gpu->model->hash[i];
        }
        ek_gpu_text_hash(hash, sizeof hash, value);
        return after(&line, &n, "bundle") && same(line, n, hash) ? NULL : "it is for another model";
    }
    return after(&line, &n, "layer") && take_layer(gpu, line, n)
               ? NULL : "a line names what the model does not have";
}

static const char *take_tuning(ek_gpu_t *gpu, uint32_t nbytes)
{
    const char *text = (const char *)gpu->file;
    uint32_t at = 0u;
    for (uint32_t index = 0; at < nbytes; ++index) {
        const char *line = text + at;
        uint32_t n = 0u;
        while (at + n < nbytes && line[n] != '\n') {
            n += 1u;
        }
        if (at + n == nbytes) {
            break;
        }
        const uint32_t next = at + n + 1u;
        if (index > 3u && after(&line, &n, "end")) {
            return next == nbytes && take_end(line, n, gpu->file, at) ? NULL : "it is damaged";
        }
        const char *wrong = take_line(gpu, index, line, n);
        if (wrong != NULL) {
            return wrong;
        }
        at = next;
    }
    return "it is cut off";
}

void ek_gpu_load_tuning(ek_gpu_t *gpu)
{
    const ek_gpu_section_t *s = &gpu->section;
    const char *path = gpu->options.tuning;
    if (path == NULL || path[0] == '\0') {
        return;
    }
    const uint32_t nbytes = ek_file_read(path, gpu->file, gpu->file_bytes);
    const char *wrong = nbytes == 0u ? "it cannot be read" : take_tuning(gpu, nbytes);
    if (wrong == NULL) {
        gpu->tuning_hash = ek_gpu_crc32(gpu->file, nbytes) | 1u;
        return;
    }
    for (uint32_t i = 0; i < s->layer_count; ++i) {
        gpu->preferred[i] = EK_GPU_ON_CPU;
    }
    memset(gpu->preferred_sizes, 0, s->launch_count);
    char line[LINE] = "tuning file '";
    ek_gpu_text_add(line, sizeof line, path);
    ek_gpu_text_add(line, sizeof line, "' is ignored: ");
    ek_gpu_text_add(line, sizeof line, wrong);
    ek_gpu_say(gpu, line);
}

bool ek_gpu_tuning_path(char *path, size_t size, const char *folder, const ek_model_t *model,
                        const ek_gpu_device_t *device)
{
    enum { NAME = 12 + 16 + 1 + 8 }; /* "/gpu-tuning-", both numbers */
    char names[2u * EK_GPU_NAME + 2u] = "", digits[24] = "";
    uint64_t hash = 0u;
    for (uint32_t i = 0; i < sizeof model->hash; ++i) {
        hash = hash << 8 | model->hash[i];
    }
    ek_gpu_text_add(names, sizeof names, device->info.name);
    ek_gpu_text_add_two(names, sizeof names, "\n", device->info.driver);
    path[0] = '\0';
    ek_gpu_text_add_two(path, size, folder, "/gpu-tuning-");
    ek_gpu_text_hash(path, size, hash);
    ek_gpu_text_hash(digits, sizeof digits,
                     ek_gpu_crc32((const uint8_t *)names, (uint32_t)ek_gpu_text_bytes_of(names)));
    ek_gpu_text_add_two(path, size, "-", digits + 8);
    return ek_gpu_text_bytes_of(folder) + NAME < size;
}
