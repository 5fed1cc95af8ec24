/* Interrupts of a RISC-V in machine mode, for measurements: mstatus.MIE (Privileged Architecture,
 * 3.1.6.1). The base instruction set knows nothing of
 * caches: there is no ek_port_cold. */
    .section .text.ek_port_interrupts_off, "ax"
    .globl ek_port_interrupts_off
    .type ek_port_interrupts_off, @function
ek_port_interrupts_off:
    csrrci a1, mstatus, 8
    andi a1, a1, 8
    sw a1, 0(a0)
    li a0, 1
    ret
    .size ek_port_interrupts_off, . - ek_port_interrupts_off

    .section .text.ek_port_interrupts_restore, "ax"
    .globl ek_port_interrupts_restore
    .type ek_port_interrupts_restore, @function
ek_port_interrupts_restore:
    csrs mstatus, a0
    ret
    .size ek_port_interrupts_restore, . - ek_port_interrupts_restore
