/* Start-up of a Cortex-M, in C: vector table, FPU, stack paint, .data and .bss, faults. */
#include <stdint.h>

#include "ek_fault.h"
#include "ek_register.h"

#if defined(__ARM_ARCH_6M__) /* has one fault and no registers that tell why */
#define SCB_CFSR 0u
#define SCB_HFSR 0u
#define SCB_MMFAR 0xFFFFFFFFu
#define SCB_BFAR 0xFFFFFFFFu
#else
#define SCB_CFSR EK_REG(0xE000ED28u)
#define SCB_HFSR EK_REG(0xE000ED2Cu)
#define SCB_MMFAR EK_REG(0xE000ED34u)
#define SCB_BFAR EK_REG(0xE000ED38u)
#endif
#define SCB_CPACR EK_REG(0xE000ED88u)

/* Addresses that the linker script defines. */
extern uint32_t __stack_start[], __stack_end[], __data_load[], __data_start[], __data_end[];
extern uint32_t __bss_start[], __bss_end[];

int main(void);
void Reset_Handler(void);
void Fault_Handler(void);
void SysTick_Handler(void);
void ek_fault_entry(const uint32_t *frame);

void Reset_Handler(void) {
  /* volatile: a loop turned into memset would paint over memset's own frame. */
  volatile uint32_t *to;
  const volatile uint32_t *from = __data_load;
  uint32_t *top;
#if defined(__ARM_FP)
  SCB_CPACR |= 0xFu << 20; /* full access to CP10 and CP11 */
  __asm volatile("dsb\n isb" ::: "memory");
#endif
  __asm volatile("mov %0, sp" : "=r"(top));
  for (to = __stack_start; to < top; to++) *to = EK_STACK_PAINT;
  for (to = __data_start; to < __data_end; to++) *to = *from++;
  for (to = __bss_start; to < __bss_end; to++) *to = 0;
  (void)main();
  for (;;) {
  }
}

uint32_t ek_stack_bytes(void) { return (uint32_t)((__stack_end - __stack_start) * 4); }

uint32_t ek_stack_used(void) {
  const volatile uint32_t *word = __stack_start;
  while (word < __stack_end && *word == EK_STACK_PAINT) word++;
  return (uint32_t)((__stack_end - word) * 4);
}

/* Hand the exception frame to C on a fresh stack: the old one may be what went wrong. */
__attribute__((naked, used)) void Fault_Handler(void) {
  __asm volatile(
      "mrs r0, msp\n"
      "ldr r1, =__stack_end\n"
      "mov sp, r1\n"
      "ldr r1, =ek_fault_entry\n" /* Armv6-M has no far branch */
      "bx r1\n"
      ".ltorg\n");
}

__attribute__((used)) void ek_fault_entry(const uint32_t *frame) {
  enum { FRAME_BYTES = 32, LR = 5, PC = 6, BFAR_VALID = 1 << 15, MMFAR_VALID = 1 << 7 };
  ek_fault_t fault = {0xFFFFFFFFu, 0xFFFFFFFFu, SCB_CFSR, SCB_HFSR, 0xFFFFFFFFu, 0};
  uintptr_t at = (uintptr_t)frame;
  fault.sp = (uint32_t)at;
  if (at >= (uintptr_t)__stack_start && at + FRAME_BYTES <= (uintptr_t)__stack_end) {
    fault.lr = frame[LR];
    fault.pc = frame[PC];
  }
  if ((fault.cfsr & BFAR_VALID) != 0) fault.address = SCB_BFAR;
  if ((fault.cfsr & MMFAR_VALID) != 0) fault.address = SCB_MMFAR;
  ek_fault(&fault);
  for (;;) {
  }
}

__attribute__((weak)) void SysTick_Handler(void) { Fault_Handler(); }

typedef void (*vector_t)(void);
__attribute__((section(".vectors"), used)) static const vector_t vectors[16] = {
    (vector_t)(uintptr_t)__stack_end, /* initial stack pointer */
    Reset_Handler,
    Fault_Handler, /* NMI */
    Fault_Handler, /* HardFault */
    Fault_Handler, /* MemManage */
    Fault_Handler, /* BusFault */
    Fault_Handler, /* UsageFault */
    Fault_Handler, /* SecureFault, of Armv8-M */
    0,
    0,
    0,
    Fault_Handler, /* SVCall */
    Fault_Handler, /* DebugMonitor */
    0,
    Fault_Handler, /* PendSV */
    SysTick_Handler,
};
