/* Counters that a Linux process can read: the CPU's cycles where the kernel lets it, the generic
 * timer of Arm, and the kernel's clock, which is always there; in qemu-user, executed instructions.
 *
 * Arm Architecture Reference Manual: CNTVCT_EL0, CNTFRQ_EL0, PMCCNTR_EL0 and their names in
 * AArch32. An access that the kernel has not enabled traps. */
#include "ek_counter.h"
#include "ek_linux.h"
#include "ek_process.h"

#if defined(__x86_64__) /* "this machine" may be either */
#undef EK_COUNTER_PMCCNTR
#undef EK_COUNTER_CNTVCT
#endif

static enum { CLOCK, CNTVCT, PMCCNTR, EMULATOR } kind = CLOCK;

#if defined(EK_COUNTER_EMULATOR)
/* Executed instructions, from the descriptor at which edgekit's plugin for qemu-user has them; 0
 * where there is no such thing. */
static uint64_t emulator(void) {
  uint64_t count = 0;
  (void)ek_syscall(SYS_READ, EK_COUNTER_EMULATOR, (intptr_t)&count, sizeof count, 0);
  return count;
}
#endif

#if defined(EK_COUNTER_CNTVCT)
static uint64_t cntvct(void) {
#if defined(__aarch64__)
  uint64_t value = 0; /* stays where the instruction traps */
  __asm volatile("isb\n mrs %0, cntvct_el0" : "+r"(value)::"memory");
  return value;
#else
  uint32_t low = 0, high = 0;
  __asm volatile("isb\n mrrc p15, 1, %0, %1, c14" : "+r"(low), "+r"(high)::"memory");
  return (uint64_t)high << 32 | low;
#endif
}

static uint32_t cntfrq(void) {
  uintptr_t value = 0;
#if defined(__aarch64__)
  __asm volatile("mrs %0, cntfrq_el0" : "+r"(value));
#else
  __asm volatile("mrc p15, 0, %0, c14, c0, 0" : "+r"(value));
#endif
  return (uint32_t)value;
}
#endif

#if defined(EK_COUNTER_PMCCNTR)
static uint64_t pmccntr(void) {
#if defined(__aarch64__)
  uint64_t value = 0;
  __asm volatile("isb\n mrs %0, pmccntr_el0" : "+r"(value)::"memory");
  return value;
#else /* 32 bits: extended at each reading */
  static uint32_t last;
  static uint64_t total;
  uint32_t value = 0;
  __asm volatile("isb\n mrc p15, 0, %0, c9, c13, 0" : "+r"(value)::"memory");
  total += (uint32_t)(value - last);
  last = value;
  return total;
#endif
}
#endif

static uint64_t clock_ns(void) {
  enum { MONOTONIC_RAW = 4 };
  intptr_t time[2] = {0, 0};
  (void)ek_syscall(SYS_CLOCK_GETTIME, MONOTONIC_RAW, (intptr_t)time, 0, 0);
  return (uint64_t)time[0] * 1000000000u + (uint64_t)time[1];
}

uint64_t ek_port_counter_now(void) {
#if defined(EK_COUNTER_EMULATOR)
  if (kind == EMULATOR) return emulator();
#endif
#if defined(EK_COUNTER_PMCCNTR)
  if (kind == PMCCNTR) return pmccntr();
#endif
#if defined(EK_COUNTER_CNTVCT)
  if (kind == CNTVCT) return cntvct();
#endif
  return clock_ns();
}

#if defined(EK_COUNTER_PMCCNTR) || defined(EK_COUNTER_CNTVCT)
/* It may trap, or read well and stand still. */
static int works(uint64_t (*read)(void)) {
  uint64_t first, next = 0;
  ek_guard_begin();
  first = read();
  for (uint32_t i = 0; i < 100000u && (next = read()) == first; i++) {
  }
  return ek_guard_end() && next != first;
}
#endif

#if defined(EK_COUNTER_PMCCNTR)
/* Every core counts by itself: stay on the one that this runs on. */
static void stay(void) {
  uint32_t cpu = 0;
  uint8_t set[128] = {0};
  if (ek_syscall(SYS_GETCPU, (intptr_t)&cpu, 0, 0, 0) != 0 || cpu / 8u >= sizeof set) return;
  set[cpu / 8u] = (uint8_t)(1u << cpu % 8u);
  (void)ek_syscall(SYS_SETAFFINITY, 0, sizeof set, (intptr_t)set, 0);
}
#endif

int ek_port_counter_open(ek_counter_t *counter) {
  counter->mask = 0xFFFFFFFFu;
#if defined(EK_COUNTER_EMULATOR)
  if (emulator() != 0) {
    kind = EMULATOR;
    counter->name = "emulator";
    counter->hz = 0;
    return 1;
  }
#endif
#if defined(EK_COUNTER_PMCCNTR)
  if (works(pmccntr)) {
    stay();
    kind = PMCCNTR;
    counter->name = "pmccntr";
    counter->hz = EK_CLOCK_HZ;
    return 1;
  }
#endif
#if defined(EK_COUNTER_CNTVCT)
  ek_guard_begin();
  counter->hz = cntfrq();
  if (ek_guard_end() && counter->hz != 0 && works(cntvct)) {
    kind = CNTVCT;
    counter->name = "cntvct";
    return 1;
  }
#endif
  kind = CLOCK;
  counter->name = "clock";
  counter->hz = 1000000000u;
  return 1;
}
