/* ek_gpu_test.c - the self-test: variants of every layer against the CPU's bytes.
 *
 * Golden samples run on the CPU, layer by layer. Before a layer its inputs are packed, after it its
 * outputs, and each variant must turn the former into the latter, gaps included, on a device whose
 * outputs and scratch buffers were filled with something else before. */
#include "ek_gpu_core.h"

#include <string.h>

enum { LINE = 256 };

uint32_t ek_gpu_next_variant(const ek_gpu_t *gpu, uint32_t layer, uint32_t variant)
{
    const ek_gpu_layer_t l = ek_gpu_get_layer(&gpu->section, layer);
    const uint32_t preferred = gpu->preferred[layer];
    uint32_t next = variant + 1u;
    if (variant == EK_GPU_ON_CPU && preferred != EK_GPU_ON_CPU) {
        return preferred;
    }
    if (variant == EK_GPU_ON_CPU || variant == preferred) {
        next = l.first_variant;
    }
    if (next == preferred) {
        next += 1u;
    }
    return next < l.first_variant + l.variant_count ? next : EK_GPU_ON_CPU;
}

static bool failed(const ek_gpu_t *gpu, uint32_t variant)
{
    return gpu->trials[variant].verdict > (uint32_t)EK_GPU_RIGHT;
}

ek_gpu_trial_t ek_gpu_judge(const ek_gpu_t *gpu, uint32_t variant)
{
    const ek_gpu_variant_t v = ek_gpu_get_variant(&gpu->section, variant);
    ek_gpu_trial_t trial = {EK_GPU_UNTRIED, 0u};
    const uint32_t missing = v.needs & ~gpu->device->info.features;
    if (missing != 0u) {
        trial.verdict = EK_GPU_NEEDS;
        trial.detail = missing;
        return trial;
    }
    for (uint32_t i = 0; i < v.launch_count; ++i) {
        const ek_gpu_launch_t l = ek_gpu_get_launch(&gpu->section, v.first_launch + i);
        const char *said;
        if (!gpu->device->built(gpu->device->self, l.function, &said)) {
            trial.verdict = EK_GPU_UNBUILT;
            trial.detail = l.function;
            return trial;
        }
    }
    return trial;
}

/* Fill what the variant writes with what no layer makes everywhere. */
static ek_gpu_result_t poison(ek_gpu_t *gpu, const ek_gpu_variant_t *v)
{
    for (uint32_t i = 0; i < v->launch_count; ++i) {
        const ek_gpu_launch_t l = ek_gpu_get_launch(&gpu->section, v->first_launch + i);
        for (uint32_t j = l.first_argument; j < l.first_argument + l.argument_count; ++j) {
            const ek_gpu_argument_t a = ek_gpu_get_argument(&gpu->section, j);
            if (a.written != 0u) {
                memset(gpu->found, 0xA5, a.nbytes);
                const ek_gpu_result_t result = gpu->device->write(
                    gpu->device->self, gpu->place_of_argument[j], gpu->found, a.nbytes);
                if (result != EK_GPU_OK) {
                    return result;
                }
            }
        }
    }
    return EK_GPU_OK;
}

static ek_gpu_result_t write_inputs(ek_gpu_t *gpu, const ek_gpu_layer_t *l)
{
    const uint8_t *from = gpu->packed;
    for (uint32_t i = 0; i < l->input_count; ++i) {
        const uint32_t index = ek_gpu_get_operand(&gpu->section, l->first_operand + i);
        const ek_gpu_tensor_t t = ek_gpu_get_tensor(&gpu->section, index);
        const ek_gpu_result_t result = gpu->device->write(
            gpu->device->self, gpu->place_of_tensor[index], from, t.nbytes);
        if (result != EK_GPU_OK) {
            return result;
        }
        from += t.nbytes;
    }
    return EK_GPU_OK;
}

/* What a device's floats may differ from the CPU's: this share of the tensor's largest. Devices
 * divide less exactly and may flush subnormals; half has 11 bits, in operands, weights and results. */
static const float TOLERANCE = 1.0f / 16384.0f, HALF_TOLERANCE = 1.0f / 64.0f;
/* A whole model's, whose layers read what layers before them made, in multiples of a layer's. */
static const float WHOLE = 4.0f;

static float magnitude(float x)
{
    return x < 0.0f ? -x : x;
}

/* How many bytes of a tensor are wrong: of elements that are not close enough, and of the gap. */
static uint32_t wrong_floats(const ek_gpu_tensor_t *t, const uint8_t *found,
                             const uint8_t *expected)
{
    const uint32_t e = t->element_bytes;
    float largest = 0.0f;
    uint32_t wrong = 0u;
    for (uint32_t at = 0; at < t->nbytes; at += e) {
        const float value = magnitude(ek_gpu_real(t, expected + at));
        largest = value > largest ? value : largest;
    }
    const float most = largest * (t->half == EK_GPU_HALF ? HALF_TOLERANCE : TOLERANCE);
    for (uint32_t at = 0; at < t->nbytes; at += e) {
        const uint32_t block = at / (4u * e) / t->pixels, lane = at / e % 4u;
        const float apart =
            magnitude(ek_gpu_real(t, found + at) - ek_gpu_real(t, expected + at));
        const bool gap = 4u * block + lane >= t->channels;
        /* Not a number is not close to anything. */
        const bool right = gap ? memcmp(found + at, expected + at, e) == 0 : apart <= most;
        wrong += right ? 0u : e;
    }
    return wrong;
}

static float float_at(const uint8_t *bytes)
{
    float value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

bool ek_gpu_agrees(const ek_gpu_tensor_t *t, const uint8_t *found, const uint8_t *expected,
                   uint32_t nbytes)
{
    if (t->half == 0u) {
        return memcmp(found, expected, nbytes) == 0;
    }
    float largest = 0.0f;
    for (uint32_t at = 0; at + 4u <= nbytes; at += 4u) {
        const float value = magnitude(float_at(expected + at));
        largest = value > largest ? value : largest;
    }
    const float most =
        largest * WHOLE * (t->half == EK_GPU_HALF ? HALF_TOLERANCE : TOLERANCE);
    for (uint32_t at = 0; at + 4u <= nbytes; at += 4u) {
        const float apart = magnitude(float_at(found + at) - float_at(expected + at));
        if (!(apart <= most)) {
            return false;
        }
    }
    return true;
}

/* How many bytes of the outputs differ from the CPU's, floats by more than the tolerance. */
static ek_gpu_result_t compare(ek_gpu_t *gpu, const ek_gpu_layer_t *l, uint32_t *wrong)
{
    const uint8_t *expected = gpu->expected;
    *wrong = 0u;
    for (uint32_t i = 0; i < l->output_count; ++i) {
        const uint32_t index =
            ek_gpu_get_operand(&gpu->section, l->first_operand + l->input_count + i);
        const ek_gpu_tensor_t t = ek_gpu_get_tensor(&gpu->section, index);
        memset(gpu->found, 0x5A, t.nbytes);
        const ek_gpu_result_t result = gpu->device->read(
            gpu->device->self, gpu->place_of_tensor[index], gpu->found, t.nbytes);
        if (result != EK_GPU_OK) {
            return result;
        }
        if (t.half != 0u) {
            *wrong += wrong_floats(&t, gpu->found, expected);
        }
        for (uint32_t j = 0; t.half == 0u && j < t.nbytes; ++j) {
            *wrong += gpu->found[j] != expected[j] ? 1u : 0u;
        }
        expected += t.nbytes;
    }
    return EK_GPU_OK;
}

ek_gpu_result_t ek_gpu_run_once(ek_gpu_t *gpu, const ek_gpu_layer_t *l, uint32_t variant,
                                uint32_t *wrong)
{
    const ek_gpu_variant_t v = ek_gpu_get_variant(&gpu->section, variant);
    ek_gpu_result_t result = poison(gpu, &v);
    gpu->events = 0u;
    if (result == EK_GPU_OK) {
        result = write_inputs(gpu, l);
    }
    if (result == EK_GPU_OK) {
        result = ek_gpu_launch(gpu, variant);
    }
    if (result == EK_GPU_OK) {
        result = gpu->device->flush(gpu->device->self);
    }
    /* Also after a refusal: what was begun is not to run into what comes next. */
    const ek_gpu_result_t waited =
        gpu->device->wait(gpu->device->self, gpu->options.patience_ms);
    if (result == EK_GPU_OK || waited == EK_GPU_GONE) {
        result = waited;
    }
    return result == EK_GPU_OK ? compare(gpu, l, wrong) : result;
}

/* The next choice of local sizes for a variant, after `attempt` others: those that are preferred,
 * then the first of all launches, the second ... false where there are no more. */
static bool choose_sizes(ek_gpu_t *gpu, const ek_gpu_variant_t *v, uint32_t attempt)
{
    uint32_t most = 0u;
    for (uint32_t i = v->first_launch; i < v->first_launch + v->launch_count; ++i) {
        const uint32_t count = ek_gpu_get_launch(&gpu->section, i).size_count;
        const uint32_t wanted = attempt == 0u ? gpu->preferred_sizes[i] : attempt - 1u;
        gpu->sizes[i] = (uint8_t)(wanted < count ? wanted : count - 1u);
        most = count > most ? count : most;
    }
    return attempt <= most;
}

/* Run a variant on the layer's operands of the sample at hand. Its trial says how that went; false
 * where the device is lost. */
static bool try_variant(ek_gpu_t *gpu, const ek_gpu_layer_t *l, uint32_t variant, bool again)
{
    const ek_gpu_variant_t v = ek_gpu_get_variant(&gpu->section, variant);
    ek_gpu_trial_t *trial = &gpu->trials[variant];
    uint32_t wrong = 0u;
    ek_gpu_result_t result = EK_GPU_REFUSED;
    if (again) { /* right on another sample, with the local sizes that are chosen */
        result = ek_gpu_run_once(gpu, l, variant, &wrong);
    }
    for (uint32_t attempt = 0; !again && result == EK_GPU_REFUSED &&
                               choose_sizes(gpu, &v, attempt); ++attempt) {
        result = ek_gpu_run_once(gpu, l, variant, &wrong);
    }
    if (result == EK_GPU_OK) {
        trial->verdict = wrong == 0u ? EK_GPU_RIGHT : EK_GPU_WRONG_BYTES;
        trial->detail = wrong;
    } else {
        const bool dead = result == EK_GPU_GONE || result == EK_GPU_TOO_SLOW;
        trial->verdict = dead ? EK_GPU_DIED : EK_GPU_UNSTARTED;
        trial->detail = (uint32_t)result;
        return !dead;
    }
    return true;
}

/* Inputs of layer `layer` before it, or outputs after it, from the arena. */
static void pack_operands(ek_gpu_t *gpu, const ek_gpu_layer_t *l, bool outputs)
{
    uint8_t *to = outputs ? gpu->expected : gpu->packed;
    const uint32_t first = l->first_operand + (outputs ? l->input_count : 0u);
    const uint32_t count = outputs ? l->output_count : l->input_count;
    for (uint32_t i = 0; i < count; ++i) {
        const ek_gpu_tensor_t t =
            ek_gpu_get_tensor(&gpu->section, ek_gpu_get_operand(&gpu->section, first + i));
        ek_gpu_pack(&t, gpu->model->arena + t.cpu_offset, to);
        to += t.nbytes;
    }
}

static void say_failure(const ek_gpu_t *gpu, uint32_t layer, uint32_t variant)
{
    const ek_gpu_variant_t v = ek_gpu_get_variant(&gpu->section, variant);
    const ek_gpu_trial_t trial = gpu->trials[variant];
    char line[LINE + EK_GPU_SAID] = "layer ";
    ek_gpu_text_number(line, sizeof line, layer);
    ek_gpu_text_add(line, sizeof line, ", ");
    ek_gpu_text_bytes(line, sizeof line, v.name);
    if (trial.verdict == (uint32_t)EK_GPU_UNBUILT) {
        const char *said = "";
        (void)gpu->device->built(gpu->device->self, trial.detail, &said);
        ek_gpu_text_add(line, sizeof line, ": did not compile: ");
        ek_gpu_text_add(line, sizeof line, said);
    } else if (trial.verdict == (uint32_t)EK_GPU_UNSTARTED) {
        ek_gpu_text_add(line, sizeof line, ": the device refuses to run it");
    } else if (trial.verdict == (uint32_t)EK_GPU_WRONG_BYTES) {
        ek_gpu_text_add(line, sizeof line, ": ");
        ek_gpu_text_number(line, sizeof line, trial.detail);
        ek_gpu_text_add(line, sizeof line, " bytes differ from the CPU's");
    } else if (trial.verdict == (uint32_t)EK_GPU_DIED) {
        ek_gpu_text_add(line, sizeof line, trial.detail == (uint32_t)EK_GPU_TOO_SLOW
                                               ? ": does not end; the device counts as lost"
                                               : ": the device was lost");
    } else {
        return; /* a feature that it lacks */
    }
    ek_gpu_say(gpu, line);
}

/* One layer on the sample at hand. `changed` where another variant than before was taken. */
static bool test_layer(ek_gpu_t *gpu, uint32_t layer, const bool first, bool *changed)
{
    const ek_gpu_layer_t l = ek_gpu_get_layer(&gpu->section, layer);
    uint32_t variant = gpu->choices[layer];
    bool again = !first;
    if (first) {
        variant = ek_gpu_next_variant(gpu, layer, EK_GPU_ON_CPU);
    }
    while (variant != EK_GPU_ON_CPU) {
        if (!failed(gpu, variant)) {
            if (!again) {
                gpu->trials[variant] = ek_gpu_judge(gpu, variant);
            }
            const bool alive = failed(gpu, variant) || try_variant(gpu, &l, variant, again);
            if (failed(gpu, variant)) {
                say_failure(gpu, layer, variant);
            }
            if (!alive) {
                return false;
            }
            if (!failed(gpu, variant)) {
                break;
            }
        }
        *changed = *changed || !first;
        variant = ek_gpu_next_variant(gpu, layer, variant);
        again = false;
    }
    gpu->choices[layer] = variant;
    return true;
}

static void write_golden(ek_gpu_t *gpu, uint32_t sample)
{
    const ek_model_t *m = gpu->model;
    for (uint32_t i = 0; i < m->input_count; ++i) {
        ek_gpu_bytes_t data = {NULL, 0u};
        if (ek_gpu_get_golden(m, &gpu->section, sample, false, i, &data) && data.nbytes != 0u) {
            memcpy(ek_input(m, i, NULL), data.data, data.nbytes);
        }
    }
}

void ek_gpu_reach(ek_gpu_t *gpu, uint32_t sample, uint32_t layer)
{
    const ek_gpu_layer_t l = ek_gpu_get_layer(&gpu->section, layer);
    write_golden(gpu, sample);
    for (uint32_t before = 0; before < layer; ++before) {
        ek_gpu_cpu_layer(gpu, before);
    }
    pack_operands(gpu, &l, false);
    ek_gpu_cpu_layer(gpu, layer);
    pack_operands(gpu, &l, true);
}

/* All layers on one sample. */
static bool test_sample(ek_gpu_t *gpu, uint32_t sample, bool first, bool *changed)
{
    const ek_model_t *m = gpu->model;
    write_golden(gpu, sample);
    for (uint32_t layer = 0; layer < m->call_count; ++layer) {
        const ek_gpu_layer_t l = ek_gpu_get_layer(&gpu->section, layer);
        pack_operands(gpu, &l, false);
        ek_gpu_cpu_layer(gpu, layer);
        pack_operands(gpu, &l, true);
        if (!test_layer(gpu, layer, first, changed)) {
            return false;
        }
    }
    return true;
}

bool ek_gpu_test(ek_gpu_t *gpu)
{
    bool changed = true, first = true;
    while (changed) {
        changed = false;
        for (uint32_t sample = 0; sample < gpu->section.golden_count; ++sample) {
            if (!test_sample(gpu, sample, first, &changed)) {
                return false;
            }
            first = false;
        }
    }
    return true;
}
