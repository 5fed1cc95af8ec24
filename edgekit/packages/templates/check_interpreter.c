static ek_model_t @NAME@_model;
static const ek_kernel_t *@NAME@_slots[@UPPER@_BUNDLE_SLOTS];

static uint32_t @NAME@_equal_bytes(void)
{
    uint32_t equal = 0;
    /* Also gives the states of a model that has some their initial content. */
    if (ek_open(&@NAME@_model, @NAME@_bundle, @UPPER@_BUNDLE_BYTES, ek_kernels, ek_kernel_count,
                @NAME@_slots, @UPPER@_BUNDLE_SLOTS, @ARENA@, @UPPER@_BUNDLE_ARENA) != EK_OK) {
        return 0;
    }
@COPIES@
    if (ek_invoke(&@NAME@_model) != EK_OK) {
        return 0;
    }
@EQUAL@
    return equal;
}
