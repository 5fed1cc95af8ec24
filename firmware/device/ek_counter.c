#include "ek_counter.h"

#include "ek_register.h"

#if defined(EK_COUNTER_DWT)
#define DEMCR EK_REG(0xE000EDFCu)
#define DWT_CTRL EK_REG(0xE0001000u)
#define DWT_CYCCNT EK_REG(0xE0001004u)
#define DWT_LAR EK_REG(0xE0001FB0u)
#endif
#if defined(EK_COUNTER_CMSDK)
#define TIMER_CTRL EK_REG(EK_COUNTER_CMSDK + 0x0u)
#define TIMER_VALUE EK_REG(EK_COUNTER_CMSDK + 0x4u)
#define TIMER_RELOAD EK_REG(EK_COUNTER_CMSDK + 0x8u)
#endif
#if defined(EK_COUNTER_SYSTICK)
#define SYST_CSR EK_REG(0xE000E010u)
#define SYST_RVR EK_REG(0xE000E014u)
#define SYST_CVR EK_REG(0xE000E018u)
#define SYSTICK_MASK 0xFFFFFFu
#endif

typedef enum { NONE, PORT, DWT, CMSDK, SYSTICK, MCYCLE, MPCCR, CCOUNT } kind_t;

static kind_t kind;
static uint32_t last;
static uint32_t step_mask;
static uint64_t total;
static bool failed;

#if defined(EK_COUNTER_SYSTICK)
static volatile uint32_t systick_wraps;
void SysTick_Handler(void);
void SysTick_Handler(void) { systick_wraps++; }

/* It counts down and raises its interrupt on reaching 0, which therefore is a period's first tick
 * and not its last. 24 bits would wrap within one layer: the interrupt supplies eight more. */
static uint32_t systick_ticks(void) {
  uint32_t wraps, value;
  do {
    wraps = systick_wraps;
    value = SYST_CVR;
    __asm volatile("isb" ::: "memory"); /* a pending interrupt is taken here */
  } while (wraps != systick_wraps);
  return wraps << 24 | ((0u - value) & SYSTICK_MASK);
}
#endif

static uint32_t ticks(void) {
#if defined(EK_COUNTER_MCYCLE) || defined(EK_COUNTER_MPCCR) || defined(EK_COUNTER_CCOUNT)
  uint32_t cycles;
#endif
  switch (kind) {
#if defined(EK_COUNTER_DWT)
    case DWT:
      return DWT_CYCCNT;
#endif
#if defined(EK_COUNTER_CMSDK)
    case CMSDK:
      return ~TIMER_VALUE; /* counts down */
#endif
#if defined(EK_COUNTER_SYSTICK)
    case SYSTICK:
      return systick_ticks();
#endif
#if defined(EK_COUNTER_MCYCLE)
    case MCYCLE:
      __asm volatile("csrr %0, mcycle" : "=r"(cycles));
      return cycles;
#endif
#if defined(EK_COUNTER_MPCCR)
    case MPCCR:
      __asm volatile("csrr %0, 0x7e2" : "=r"(cycles));
      return cycles;
#endif
#if defined(EK_COUNTER_CCOUNT)
    case CCOUNT:
      __asm volatile("rsr.ccount %0" : "=r"(cycles));
      return cycles;
#endif
    default:
      return 0;
  }
}

/* A counter may read well and stand still (without a debugger, or where it is not implemented), or
 * run the wrong way. */
__attribute__((unused)) static bool advances(kind_t candidate) {
  enum { ROUNDS = 4, LOOPS = 64 };
  bool moved = false;
  kind = candidate;
  for (uint32_t n = 0; n < ROUNDS; n++) {
    uint32_t start = ticks(), step;
    for (volatile uint32_t i = 0; i < LOOPS; i++) {
    }
    step = ticks() - start;
    if (step >= 0x80000000u) {
      moved = false;
      break;
    }
    moved = moved || step != 0;
  }
  if (!moved) kind = NONE;
  return moved;
}

static bool open_dwt(void) {
#if defined(EK_COUNTER_DWT)
  enum { TRCENA = 1 << 24, CYCCNTENA = 1, NOCYCCNT = 1 << 25, SOON = 4096 };
  const uint32_t late = 0u - SOON;
  uint32_t before, kept;
  DEMCR |= TRCENA;
  DWT_LAR = 0xC5ACCE55u; /* unlock; ignored where there is no lock */
  DWT_CYCCNT = 0;
  DWT_CTRL |= CYCCNTENA;
  if ((DWT_CTRL & NOCYCCNT) != 0 || !advances(DWT)) return false;
  /* All 32 bits? One that cannot be written just goes on; one with fewer bits loses the upper ones
   * of what is written. */
  before = DWT_CYCCNT;
  DWT_CYCCNT = late;
  kept = DWT_CYCCNT;
  DWT_CYCCNT = 0;
  return kept >= late || kept - before < SOON;
#else
  return false;
#endif
}

static bool open_cmsdk(void) {
#if defined(EK_COUNTER_CMSDK)
  TIMER_RELOAD = 0xFFFFFFFFu;
  TIMER_VALUE = 0xFFFFFFFFu;
  TIMER_CTRL = 1;
  return TIMER_VALUE >= 0xFFFF0000u && advances(CMSDK);
#else
  return false;
#endif
}

static bool open_systick(void) {
#if defined(EK_COUNTER_SYSTICK)
  /* Long enough for a handler between two of them at the speed of any emulator. */
  enum { ENABLE = 7 /* counter, interrupt, processor clock */, PERIOD = 0xFFFF, WRAPPED = 1 << 16 };
  uint32_t polls = 0;
  SYST_RVR = PERIOD;
  SYST_CVR = 0;
  SYST_CSR = ENABLE;
  if (!advances(SYSTICK)) return false;
  /* Do its interrupts get here? The first wrap must bring one. */
  while (systick_wraps == 0 && (SYST_CSR & WRAPPED) == 0 && polls < PERIOD) polls++;
  for (volatile uint32_t i = 0; i < 16 && systick_wraps == 0; i++) {
  }
  if (systick_wraps == 0) {
    SYST_CSR = 0;
    kind = NONE;
    return false;
  }
  SYST_RVR = SYSTICK_MASK;
  SYST_CVR = 0;
  return true;
#else
  return false;
#endif
}

static bool open_mcycle(void) {
#if defined(EK_COUNTER_MCYCLE)
  return advances(MCYCLE);
#else
  return false;
#endif
}

/* ESP32-C3 (Technical Reference Manual, 1.4.1, "mpcer", "mpcmr", "mpccr"): it has no mcycle. */
static bool open_mpccr(void) {
#if defined(EK_COUNTER_MPCCR)
  __asm volatile("csrw 0x7e0, %0" ::"r"(1)); /* count clock cycles */
  __asm volatile("csrw 0x7e1, %0" ::"r"(1)); /* enable; wrap instead of saturating */
  return advances(MPCCR);
#else
  return false;
#endif
}

static bool open_ccount(void) {
#if defined(EK_COUNTER_CCOUNT)
  return advances(CCOUNT);
#else
  return false;
#endif
}

static bool open_port(ek_counter_t *counter) {
#if defined(EK_COUNTER_PORT)
  kind = PORT;
  if (ek_port_counter_open(counter) != 0) return true;
  kind = NONE;
#else
  (void)counter;
#endif
  return false;
}

void ek_counter_open(ek_counter_t *counter) {
  counter->hz = EK_CLOCK_HZ;
  counter->mask = 0xFFFFFFFFu;
  if (open_port(counter)) {
    /* it has said its name */
  } else if (open_dwt()) {
    counter->name = "dwt";
  } else if (open_cmsdk()) {
    counter->name = "cmsdk-timer";
  } else if (open_systick()) {
    counter->name = "systick";
  } else if (open_mcycle()) {
    counter->name = "mcycle";
  } else if (open_mpccr()) {
    counter->name = "mpccr";
  } else if (open_ccount()) {
    counter->name = "ccount";
  } else {
    counter->name = "none";
    counter->hz = 0;
    counter->mask = 0;
  }
  counter->blind_mask = counter->mask;
#if defined(EK_COUNTER_SYSTICK)
  if (kind == SYSTICK) counter->blind_mask = SYSTICK_MASK;
#endif
  total = 0;
  ek_counter_blind(false);
  counter->overhead = 0xFFFFFFFFu;
  for (uint32_t i = 0; i < 8; i++) {
    uint64_t start = ek_counter_now();
    uint32_t spent = (uint32_t)(ek_counter_now() - start);
    if (spent < counter->overhead) counter->overhead = spent;
  }
}

__attribute__((noinline)) uint64_t ek_counter_now(void) {
  uint32_t now, step;
#if defined(EK_COUNTER_PORT)
  if (kind == PORT) return ek_port_counter_now();
#endif
  now = ticks();
  step = (now - last) & step_mask;
  if (step > step_mask >> 1) failed = true;
  total += step;
  last = now;
  return total;
}

void ek_counter_restart(void) {
  last = ticks();
  failed = false;
}

bool ek_counter_failed(void) { return failed; }

void ek_counter_blind(bool on) {
  step_mask = 0xFFFFFFFFu;
#if defined(EK_COUNTER_SYSTICK)
  /* What the interrupts make of it stands still then. */
  if (on && kind == SYSTICK) step_mask = SYSTICK_MASK;
#else
  (void)on;
#endif
  ek_counter_restart();
}
