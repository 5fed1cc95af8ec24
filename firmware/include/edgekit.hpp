/* edgekit.hpp - models for C++: typed views in the place of pointers and sizes.
 *
 * C++11, header only, freestanding: no exceptions, no RTTI, no heap, nothing of the standard library.
 * Objects own nothing and need no destructor. Ahead-of-time models have a NAME.hpp of their own with
 * the same calls and sizes that are known at compile time; this is the interpreter:
 *
 *   extern "C" { extern const ek_kernel_t ek_kernels[]; extern const uint32_t ek_kernel_count; }
 *   static edgekit::Memory<EK_MODEL_KERNELS, EK_MODEL_ARENA_BYTES> memory;
 *   static edgekit::Model model;
 *
 *   ek_status_t s = model.open(bundle, bundle_bytes, ek_kernels, ek_kernel_count, memory);
 *   edgekit::Span<int8_t> x = model.input<int8_t>();
 *   ... x[i] for i below x.size() ...
 *   s = model.invoke();
 *   for (int8_t y : model.output<int8_t>()) { ... }
 */
#ifndef EDGEKIT_HPP
#define EDGEKIT_HPP

#include <stddef.h>
#include <stdint.h>

#include "edgekit.h"

namespace edgekit {

/* `size` elements of a buffer that somebody else owns; empty where there is none. */
template <typename T>
class Span {
public:
    constexpr Span() : data_(nullptr), size_(0) {}
    constexpr Span(T *data, size_t size) : data_(data), size_(size) {}

    constexpr T *data() const { return data_; }
    constexpr size_t size() const { return size_; }
    constexpr bool empty() const { return size_ == 0; }
    constexpr T *begin() const { return data_; }
    constexpr T *end() const { return data_ + size_; }
    T &operator[](size_t index) const { return data_[index]; }

private:
    T *data_;
    size_t size_;
};

/* What ek_open takes besides the bundle: an arena and a slot for each kernel. */
template <uint32_t Kernels, uint32_t ArenaBytes>
struct Memory {
    alignas(16) uint8_t arena[ArenaBytes != 0 ? ArenaBytes : 1];
    const ek_kernel_t *slots[Kernels != 0 ? Kernels : 1];
};

/* A bundle that the interpreter runs. It is closed, and every call is refused, until open() has
 * returned EK_OK. Not to be copied: two models on one arena would be in each other's way. */
class Model {
public:
    constexpr Model() : model_() {}
    Model(const Model &) = delete;
    Model &operator=(const Model &) = delete;

    /* ek_open: bundle and memory stay where they are as long as the model is used. */
    ek_status_t open(const void *bundle, size_t bundle_bytes, const ek_kernel_t *kernels,
                     uint32_t kernel_count, Span<const ek_kernel_t *> slots, Span<uint8_t> arena)
    {
        return ek_open(&model_, bundle, bundle_bytes, kernels, kernel_count, slots.data(),
                       static_cast<uint32_t>(slots.size()), arena.data(), arena.size());
    }

    template <uint32_t Kernels, uint32_t ArenaBytes>
    ek_status_t open(const void *bundle, size_t bundle_bytes, const ek_kernel_t *kernels,
                     uint32_t kernel_count, Memory<Kernels, ArenaBytes> &memory)
    {
        return open(bundle, bundle_bytes, kernels, kernel_count,
                    Span<const ek_kernel_t *>(memory.slots, Kernels),
                    Span<uint8_t>(memory.arena, ArenaBytes));
    }

    ek_status_t invoke() const { return ek_invoke(&model_); }
    ek_status_t step(ek_run_t &run) const { return ek_step(&model_, &run); }
    ek_status_t reset() const { return ek_reset(&model_); }

    /* The elements of an input, output or state; T is what `edgekit inspect` says of it. Empty where
     * there is no such index, or where its bytes are no whole number of aligned elements. */
    template <typename T>
    Span<T> input(uint32_t index = 0) const
    {
        uint32_t nbytes = 0;
        uint8_t *const at = ek_input(&model_, index, &nbytes);
        return view<T>(at, nbytes);
    }
    template <typename T>
    Span<const T> output(uint32_t index = 0) const
    {
        uint32_t nbytes = 0;
        const uint8_t *const at = ek_output(&model_, index, &nbytes);
        return view<const T>(at, nbytes);
    }
    template <typename T>
    Span<T> state(uint32_t index = 0) const
    {
        uint32_t nbytes = 0;
        uint8_t *const at = ek_state(&model_, index, &nbytes);
        return view<T>(at, nbytes);
    }

    /* The C object: sizes, hash, and the index of what an error is about (`detail`). */
    const ek_model_t &c() const { return model_; }

private:
    template <typename T, typename Byte>
    static Span<T> view(Byte *at, uint32_t nbytes)
    {
        if (at == nullptr || nbytes % sizeof(T) != 0 ||
            reinterpret_cast<uintptr_t>(at) % alignof(T) != 0) {
            return Span<T>();
        }
        return Span<T>(reinterpret_cast<T *>(at), nbytes / sizeof(T));
    }

    ek_model_t model_;
};

} // namespace edgekit

#endif
