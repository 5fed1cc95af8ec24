/* ek_app_aot.c - the device program's model as ahead-of-time compiled C. */
#include "ek_app.h"
#include "model_config.h"

#include EK_MODEL_AOT_HEADER

static uint16_t count_inputs(void)
{
    uint32_t nbytes;
    uint16_t n = 0;
    while (EK_MODEL_AOT(input)(n, &nbytes) != 0) {
        ++n;
    }
    return n;
}

static uint16_t count_outputs(void)
{
    uint32_t nbytes;
    uint16_t n = 0;
    while (EK_MODEL_AOT(output)(n, &nbytes) != 0) {
        ++n;
    }
    return n;
}

int32_t ek_app_open(ek_app_info_t *info)
{
    info->mode = "aot";
    for (uint32_t i = 0; i < sizeof info->model_hash; ++i) {
        info->model_hash[i] = EK_MODEL_AOT(hash)[i];
    }
    info->inputs = count_inputs();
    info->outputs = count_outputs();
    info->layers = (uint16_t)EK_MODEL_CALLS;
    info->arena_bytes = EK_MODEL_ARENA_BYTES;
    return ek_app_reset();
}

uint8_t *ek_app_input(uint32_t index, uint32_t *bytes)
{
    return (uint8_t *)EK_MODEL_AOT(input)(index, bytes);
}

const uint8_t *ek_app_output(uint32_t index, uint32_t *bytes)
{
    return (const uint8_t *)EK_MODEL_AOT(output)(index, bytes);
}

int32_t ek_app_invoke(void)
{
    EK_MODEL_AOT(run)();
    return 0;
}

int32_t ek_app_reset(void)
{
    EK_MODEL_AOT(reset)();
    return 0;
}
