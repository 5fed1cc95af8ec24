/* What a board's file says is done to its registers, as tables in flash.
 *
 * The generator writes board.c with the tables and with ek_board_setup() and ek_board_cold(), and
 * defines EK_BOARD_SETUP and EK_BOARD_COLD where there is something to do. A pin for power
 * analysers is EK_TRIGGER_SET, EK_TRIGGER_CLEAR (addresses) and EK_TRIGGER_MASK, which is written
 * shifted to the left by EK_TRIGGER_CLEAR_SHIFT to clear the pin. */
#ifndef EK_BOARD_H
#define EK_BOARD_H

#include <stdint.h>

#ifndef EK_TRIGGER_CLEAR_SHIFT
#define EK_TRIGGER_CLEAR_SHIFT 0
#endif

/* One step: the register's address with what to do in its two lowest bits. Bits outside of the
 * mask stay; a wait ends when the bits in it have the value. */
typedef struct {
  uint32_t address, mask, value;
} ek_step_t;

enum { EK_STEP_WRITE = 0, EK_STEP_CHANGE = 1, EK_STEP_WAIT = 2 };

/* Added to the number of the first step that was waited for in vain, from 1. */
#define EK_BOARD_STATUS 0x100

/* Takes all steps, those after a failed one too, so that the UART opens if it can. Returns 0 or
 * EK_BOARD_STATUS + number. */
int32_t ek_steps_take(const ek_step_t *steps, uint32_t count);

#ifdef EK_BOARD_SETUP
int32_t ek_board_setup(void);
#else
static inline int32_t ek_board_setup(void) { return 0; }
#endif

/* Empties flash accelerators, so that the next run is a cold one; caches of the core are the port's
 * matter (ek_port.h). */
#ifdef EK_BOARD_COLD
void ek_board_cold(void);
#else
static inline void ek_board_cold(void) {}
#endif

/* Empties the caches of an Armv7-M core and turns them on. */
void ek_caches_on(void);

#endif
