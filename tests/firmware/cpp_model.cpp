/* cpp_model.cpp - a model through edgekit.hpp and its own .hpp, each in two ways; freestanding, so that
 * the same file runs on the host and on a device. Where a promise is broken turn() returns 0. */
#include "edgekit.hpp"

#include MODEL_HPP
#include "model_config.h"

extern "C" {
extern const ek_kernel_t ek_kernels[];
extern const uint32_t ek_kernel_count;
int ready(const void *bundle, uint32_t nbytes);
uint32_t turn(uint32_t way, const int8_t *in, int8_t *out);
}

using Aot = edgekit::models::MODEL;

static edgekit::Memory<EK_MODEL_KERNELS, EK_MODEL_ARENA_BYTES> memory;
static edgekit::Model model;

static_assert(Aot::arena_bytes == EK_MODEL_ARENA_BYTES, "one plan for both forms");
static_assert(Aot::input_scale() > 0.0f && Aot::input_zero_point() >= -128, "known when compiling");

int ready(const void *bundle, uint32_t nbytes)
{
    ek_run_t run = ek_run_t();
    if (model.invoke() != EK_STATE || model.step(run) != EK_STATE || model.reset() != EK_STATE ||
        !model.input<int8_t>().empty()) {
        return 1; /* closed: nothing is there */
    }
    if (model.open(bundle, nbytes / 2, ek_kernels, ek_kernel_count, memory) == EK_OK ||
        !model.output<int8_t>().empty()) {
        return 2;
    }
    if (model.open(bundle, nbytes, ek_kernels, ek_kernel_count, memory) != EK_OK ||
        model.c().call_count != EK_MODEL_CALLS) {
        return 3;
    }
    if (!model.input<int8_t>(1).empty() || !model.output<int32_t>().empty() ||
        !model.state<int8_t>().empty()) {
        return 4; /* no second input; ten bytes are no int32; no state */
    }
    Aot::reset();
    return 0;
}

template <typename T>
static uint32_t copy(edgekit::Span<T> from, int8_t *out)
{
    uint32_t n = 0;
    for (int8_t y : from) {
        out[n++] = y;
    }
    return n;
}

uint32_t turn(uint32_t way, const int8_t *in, int8_t *out)
{
    ek_run_t run = ek_run_t();
    ek_status_t status = EK_OK;
    if (way < 2) {
        edgekit::Span<int8_t> x = model.input<int8_t>();
        for (size_t i = 0; i < x.size(); ++i) {
            x[i] = in[i];
        }
        if (way == 0) {
            status = model.invoke();
        } else {
            while ((status = model.step(run)) == EK_MORE) {
            }
        }
        return status == EK_OK ? copy(model.output<int8_t>(), out) : 0;
    }
    if (way == 2) {
        int8_t x[Aot::input_size], y[Aot::output_size];
        for (size_t i = 0; i < Aot::input_size; ++i) {
            x[i] = in[i];
        }
        Aot::invoke(x, y);
        return copy(edgekit::Span<const int8_t>(y, Aot::output_size), out);
    }
    for (int8_t &x : Aot::input()) {
        x = *in++;
    }
    if (way == 3) {
        Aot::run();
    } else {
        while ((status = Aot::step(run)) == EK_MORE) {
        }
    }
    return status == EK_OK ? copy(Aot::output(), out) : 0;
}
