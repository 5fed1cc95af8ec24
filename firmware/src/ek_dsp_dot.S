/* ek_dsp_dot.S - ek_dot_5x1 and ek_dot_1x4 in Thumb-2 with SMLAD, all registers in use.
 *
 * A step is 5 x 4 multiply-accumulates in 15 instructions, or 4 x 4 in 18. Compilers spill here,
 * so it is written by hand; ek_dsp.c says the same in C.
 */
#if defined(__ARM_FEATURE_DSP)
    .syntax unified
    .thumb

/* Five pixels (pairs at lr, accumulators r0-r4) against the four weights in the bytes of r11. */
    .macro five_pixels
    ldmia   lr!, {r5-r9}
    sxtb16  r10, r11
    sxtb16  r11, r11, ror #8
    smlad   r0, r5, r10, r0
    smlad   r0, r6, r11, r0
    smlad   r1, r7, r10, r1
    smlad   r1, r8, r11, r1
    smlad   r2, r9, r10, r2
    ldmia   lr!, {r5-r9}
    smlad   r2, r5, r11, r2
    smlad   r3, r6, r10, r3
    smlad   r3, r7, r11, r3
    smlad   r4, r8, r10, r4
    smlad   r4, r9, r11, r4
    .endm

/* r12: weights */
    .macro step_5x1
    ldr     r11, [r12], #4
    five_pixels
    .endm

    .section .text.ek_dot_5x1, "ax", %progbits
    .global ek_dot_5x1
    .type   ek_dot_5x1, %function
    .thumb_func
    .p2align 2
ek_dot_5x1:
    push    {r3-r11, lr}
    mov     r12, r1
    mov     lr, r0
    and     r5, r2, #3
    add     r5, r1, r5, lsl #2          /* end of the steps that do not fill a group of four */
    add     r6, r1, r2, lsl #2          /* end of all steps */
    push    {r5, r6}
    ldmia   r3, {r0-r4}
    cmp     r12, r5
    beq     2f
1:  step_5x1
    ldr     r5, [sp]
    cmp     r12, r5
    bne     1b
2:  ldr     r5, [sp, #4]
    cmp     r12, r5
    beq     4f
3:  step_5x1
    step_5x1
    step_5x1
    step_5x1
    ldr     r5, [sp, #4]
    cmp     r12, r5
    bne     3b
4:  ldr     r5, [sp, #8]
    stmia   r5, {r0-r4}
    add     sp, sp, #12
    pop     {r4-r11, pc}
    .size   ek_dot_5x1, . - ek_dot_5x1

/* lr: pairs, r12: weights, r0-r3: accumulators, r11: end of the weights */
    .macro step_1x4
    ldrd    r4, r5, [lr], #8
    ldmia   r12!, {r6-r9}
    sxtb16  r10, r6
    sxtb16  r6, r6, ror #8
    smlad   r0, r4, r10, r0
    smlad   r0, r5, r6, r0
    sxtb16  r10, r7
    sxtb16  r7, r7, ror #8
    smlad   r1, r4, r10, r1
    smlad   r1, r5, r7, r1
    sxtb16  r10, r8
    sxtb16  r8, r8, ror #8
    smlad   r2, r4, r10, r2
    smlad   r2, r5, r8, r2
    sxtb16  r10, r9
    sxtb16  r9, r9, ror #8
    smlad   r3, r4, r10, r3
    smlad   r3, r5, r9, r3
    .endm

    .section .text.ek_dot_1x4, "ax", %progbits
    .global ek_dot_1x4
    .type   ek_dot_1x4, %function
    .thumb_func
    .p2align 2
ek_dot_1x4:
    push    {r3-r11, lr}
    mov     r12, r1
    mov     lr, r0
    add     r11, r1, r2, lsl #4
    tst     r2, #1
    ldmia   r3, {r0-r3}
    beq     2f
    step_1x4
2:  cmp     r12, r11
    beq     4f
3:  step_1x4
    step_1x4
    cmp     r12, r11
    bne     3b
4:  ldr     r12, [sp]
    stmia   r12, {r0-r3}
    add     sp, sp, #4
    pop     {r4-r11, pc}
    .size   ek_dot_1x4, . - ek_dot_1x4

    .section .text.ek_dot_5x1_w4, "ax", %progbits
    .global ek_dot_5x1_w4
    .type   ek_dot_5x1_w4, %function
    .thumb_func
    .p2align 2
ek_dot_5x1_w4:
    push    {r3-r11, lr}
    mov     r12, r1
    mov     lr, r0
    add     r6, r1, r2, lsl #2          /* end of the weights */
    push    {r5, r6}
    ldmia   r3, {r0-r4}
    lsl     r0, r0, #4
    lsl     r1, r1, #4
    lsl     r2, r2, #4
    lsl     r3, r3, #4
    lsl     r4, r4, #4
1:  ldr     r11, [r12]
    lsl     r11, r11, #4
    and     r11, r11, #0xF0F0F0F0
    five_pixels
    ldr     r11, [r12], #4
    and     r11, r11, #0xF0F0F0F0
    five_pixels
    ldr     r5, [sp, #4]
    cmp     r12, r5
    bne     1b
    asr     r0, r0, #4
    asr     r1, r1, #4
    asr     r2, r2, #4
    asr     r3, r3, #4
    asr     r4, r4, #4
    ldr     r5, [sp, #8]
    stmia   r5, {r0-r4}
    add     sp, sp, #12
    pop     {r4-r11, pc}
    .size   ek_dot_5x1_w4, . - ek_dot_5x1_w4

/* One pixel (r4, r5) against the four weights times 16 in the bytes of r10. */
    .macro one_channel acc
    sxtb16  r11, r10
    smlad   \acc, r4, r11, \acc
    sxtb16  r11, r10, ror #8
    smlad   \acc, r5, r11, \acc
    .endm
    .macro low_four word, acc
    lsl     r10, \word, #4
    and     r10, r10, #0xF0F0F0F0
    one_channel \acc
    .endm
    .macro high_four word, acc
    and     r10, \word, #0xF0F0F0F0
    one_channel \acc
    .endm

    .section .text.ek_dot_1x4_w4, "ax", %progbits
    .global ek_dot_1x4_w4
    .type   ek_dot_1x4_w4, %function
    .thumb_func
    .p2align 2
ek_dot_1x4_w4:
    push    {r3-r11, lr}
    mov     r12, r1
    mov     lr, r0
    add     r6, r1, r2, lsl #4          /* end of the weights */
    push    {r5, r6}
    ldmia   r3, {r0-r3}
    lsl     r0, r0, #4
    lsl     r1, r1, #4
    lsl     r2, r2, #4
    lsl     r3, r3, #4
1:  ldmia   r12!, {r6-r9}
    ldrd    r4, r5, [lr], #8
    low_four r6, r0
    low_four r7, r1
    low_four r8, r2
    low_four r9, r3
    ldrd    r4, r5, [lr], #8
    high_four r6, r0
    high_four r7, r1
    high_four r8, r2
    high_four r9, r3
    ldr     r4, [sp, #4]
    cmp     r12, r4
    bne     1b
    asr     r0, r0, #4
    asr     r1, r1, #4
    asr     r2, r2, #4
    asr     r3, r3, #4
    ldr     r4, [sp, #8]
    stmia   r4, {r0-r3}
    add     sp, sp, #12
    pop     {r4-r11, pc}
    .size   ek_dot_1x4_w4, . - ek_dot_1x4_w4
#endif
#if defined(__linux__) && defined(__ELF__)
    .section .note.GNU-stack, "", %progbits /* or ld makes the stack executable, and says so */
#endif
