/* What the device program needs from a model: implemented once for the interpreter (a bundle in
 * flash) and once per ahead-of-time compiled model. */
#ifndef EK_APP_H
#define EK_APP_H

#include <stdint.h>

typedef struct {
  const char *mode; /* "interpreter" or "aot" */
  uint8_t model_hash[8];
  uint16_t inputs, outputs, layers;
  uint32_t arena_bytes;
} ek_app_info_t;

/* Make the model ready. Returns 0, or an ek_status code (bundle rejected, kernel missing ...). */
int32_t ek_app_open(ek_app_info_t *info);

/* The buffer of an input or output and its size; a null pointer where there is no such index. */
uint8_t *ek_app_input(uint32_t index, uint32_t *bytes);
const uint8_t *ek_app_output(uint32_t index, uint32_t *bytes);

/* Run the model once on the inputs' buffers. With EK_PROFILE it calls ek_profile_edge(0) before the
 * first layer and ek_profile_edge(i + 1) after layer i. Returns 0 or an ek_status code. */
int32_t ek_app_invoke(void);

/* Give the states of the model their initial content. Returns 0 or an ek_status code. */
int32_t ek_app_reset(void);

#endif
