/* ek_bundle.h - the parts of model.ekb that the runtime reads; docs/SPEC.md, "Bundle format".
 * The numbers are those of edgekit/bundle/model.fbs. */
#ifndef EK_BUNDLE_H
#define EK_BUNDLE_H

#include "edgekit.h"

#include <stdbool.h>

#define EK_FOOTER_BYTES 16u
#define EK_FOOTER_MAGIC 0x46424B45u /* "EKBF" */
#define EK_FILE_MAGIC 0x31424B45u   /* "EKB1" */
#define EK_BUNDLE_ALIGN 16u
#define EK_ARGUMENT_ALIGN 8u

#define EK_CALL_BYTES 8u
#define EK_ARGUMENT_BYTES 12u
#define EK_KERNEL_REF_BYTES 8u

enum { EK_SPACE_ARENA = 0, EK_SPACE_CONSTANTS = 1 };

typedef struct {
    uint32_t first_argument;
    uint32_t kernel;
    uint32_t argument_count;
} ek_call_t;

typedef struct {
    uint32_t offset;
    uint32_t nbytes;
    uint32_t space;
} ek_argument_t;

/* Little endian, any alignment. */
uint32_t ek_get16(const uint8_t *p);
uint32_t ek_get32(const uint8_t *p);
ek_call_t ek_get_call(const ek_model_t *model, uint32_t index);
ek_argument_t ek_get_argument(const ek_model_t *model, uint32_t index);

/* Fill in everything of `model` that comes from the bundle, or say what is wrong with it. */
ek_status_t ek_verify(ek_model_t *model, const uint8_t *bundle, size_t bundle_bytes);

/* Where a tensor lies in the arena, and for states what they hold first: the bytes at `initial` of
 * the constants where `initial_space` is EK_SPACE_CONSTANTS, else the byte `initial` everywhere. */
typedef struct {
    uint32_t offset;
    uint32_t nbytes;
    uint32_t initial_space;
    uint32_t initial;
} ek_place_t;

/* Element `index` of model->inputs, ->outputs or ->states, as `tables`; false where it is broken. */
bool ek_get_place(const ek_model_t *model, const uint8_t *tables, uint32_t index,
                  ek_place_t *place);

#endif
