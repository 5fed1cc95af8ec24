#include "ek_counter.h"

#include <stdbool.h>

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

typedef enum { NONE, DWT, CMSDK, SYSTICK, MCYCLE } kind_t;

static kind_t kind;
static uint32_t last;
static uint64_t total;

#if defined(EK_COUNTER_SYSTICK)
static volatile uint32_t systick_wraps;
void SysTick_Handler(void);
void SysTick_Handler(void) { systick_wraps++; }

/* 24 bits would wrap within one layer: the interrupt supplies eight more. */
static uint32_t systick_ticks(void) {
  uint32_t wraps, value;
  do {
    wraps = systick_wraps;
    value = SYST_CVR;
    __asm volatile("isb" ::: "memory"); /* a pending interrupt is taken here */
  } while (wraps != systick_wraps);
  return wraps << 24 | (SYSTICK_MASK - value);
}
#endif

#if defined(EK_COUNTER_MCYCLE)
static uint32_t mcycle_ticks(void) {
  uint32_t cycles;
  __asm volatile("csrr %0, mcycle" : "=r"(cycles));
  return cycles;
}
#endif

static uint32_t ticks(void) {
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
      return mcycle_ticks();
#endif
    default:
      return 0;
  }
}

/* A counter may read well and stand still: without a debugger, or where it is not implemented. */
static bool advances(kind_t candidate) {
  uint32_t start;
  kind = candidate;
  start = ticks();
  for (volatile uint32_t i = 0; i < 64; i++) {
  }
  if (ticks() != start) return true;
  kind = NONE;
  return false;
}

static bool open_dwt(void) {
#if defined(EK_COUNTER_DWT)
  enum { TRCENA = 1 << 24, CYCCNTENA = 1, NOCYCCNT = 1 << 25 };
  DEMCR |= TRCENA;
  DWT_LAR = 0xC5ACCE55u; /* unlock; ignored where there is no lock */
  DWT_CYCCNT = 0;
  DWT_CTRL |= CYCCNTENA;
  return (DWT_CTRL & NOCYCCNT) == 0 && advances(DWT);
#else
  return false;
#endif
}

static bool open_cmsdk(void) {
#if defined(EK_COUNTER_CMSDK)
  TIMER_RELOAD = 0xFFFFFFFFu;
  TIMER_VALUE = 0xFFFFFFFFu;
  TIMER_CTRL = 1;
  return advances(CMSDK);
#else
  return false;
#endif
}

static bool open_systick(void) {
#if defined(EK_COUNTER_SYSTICK)
  SYST_RVR = SYSTICK_MASK;
  SYST_CVR = 0;
  SYST_CSR = 7; /* enable, interrupt, processor clock */
  return advances(SYSTICK);
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

void ek_counter_open(ek_counter_t *counter) {
  counter->hz = EK_CLOCK_HZ;
  counter->mask = 0xFFFFFFFFu;
  if (open_dwt()) {
    counter->name = "dwt";
  } else if (open_cmsdk()) {
    counter->name = "cmsdk-timer";
  } else if (open_systick()) {
    counter->name = "systick";
  } else if (open_mcycle()) {
    counter->name = "mcycle";
  } else {
    counter->name = "none";
    counter->hz = 0;
    counter->mask = 0;
  }
  last = ticks();
  total = 0;
  counter->overhead = 0xFFFFFFFFu;
  for (uint32_t i = 0; i < 8; i++) {
    uint64_t start = ek_counter_now();
    uint32_t spent = (uint32_t)(ek_counter_now() - start);
    if (spent < counter->overhead) counter->overhead = spent;
  }
}

__attribute__((noinline)) uint64_t ek_counter_now(void) {
  uint32_t now = ticks();
  total += (uint32_t)(now - last);
  last = now;
  return total;
}
