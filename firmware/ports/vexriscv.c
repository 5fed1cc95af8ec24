/* VexRiscv's caches. It writes through the one for data, and forgets all of it with an instruction of
 * its own (MISC-MEM with funct3 5; DBusCachedPlugin, "flush"); fence.i empties the one for code. */
#include "ek_npu.h"
#include "ek_port.h"

/* The core empties a cache as soon as it has such an instruction in its pipeline, be it behind the
 * return of the function before, which it has not taken yet: nops keep it from getting there. What
 * has been fetched before goes on: the report of the generated core asks for three nops behind the
 * one for code. */
#define APART "nop\n nop\n nop\n nop\n "
#define FLUSH_DATA APART ".word 0x500F\n "
#define FLUSH_CODE APART ".word 0x100F\n " APART

void ek_npu_publish(void) { __asm volatile("fence" ::: "memory"); }

void ek_npu_refresh(void) { __asm volatile(FLUSH_DATA ::: "memory"); }

uint32_t ek_port_cold(void) {
  __asm volatile(FLUSH_CODE FLUSH_DATA ::: "memory");
  return EK_COLD_CODE | EK_COLD_DATA;
}
