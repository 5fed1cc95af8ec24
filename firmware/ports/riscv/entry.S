/* The first instructions of a RISC-V in machine mode, and the way into ek_trap. rv32i and csr. */
#ifndef EK_TRAP_ALIGN
#define EK_TRAP_ALIGN 4
#endif
    .section .vectors, "ax"
    .globl Reset_Handler
    .type Reset_Handler, @function
Reset_Handler:
    la sp, __stack_end
    /* Make flash read-only, as it is where it is one: what runs off the end of the stack, which is
     * the lowest thing in RAM, then faults. A core without memory protection traps and goes on. */
    la t0, .Lunprotected
    csrw mtvec, t0
    la t0, __flash_start
    srli t0, t0, 2
    csrw pmpaddr0, t0
    la t0, __flash_end
    srli t0, t0, 2
    csrw pmpaddr1, t0
    li t0, 0x8D00 /* entry 1: locked, from entry 0's address to its own, read and execute */
    csrw pmpcfg0, t0
    .balign 4
.Lunprotected:
    la t0, ek_trap_entry
    csrw mtvec, t0
#if defined(EK_CFU)
    li t0, 0x80000000 /* VexRiscv: custom-0 traps until then */
    csrw 0xBC0, t0
#endif
    mv a0, sp
    tail ek_start
    .size Reset_Handler, . - Reset_Handler

    .section .text.ek_trap_entry, "ax"
    .balign EK_TRAP_ALIGN
    .globl ek_trap_entry
    .type ek_trap_entry, @function
ek_trap_entry:
    mv a0, sp
    mv a1, ra
    csrr a2, mcause
    csrr a3, mepc
    csrr a4, mtval
    la sp, __stack_end /* the old stack may be what went wrong */
    tail ek_trap
    .size ek_trap_entry, . - ek_trap_entry
