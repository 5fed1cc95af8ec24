/* ek_tile_v7m.S - ek_tile_2x2 and ek_tile_1x4 for Thumb-2 without the DSP extension's products.
 *
 * Four multiply-accumulates in 8 instructions and in 9; loads stand together, which overlaps them.
 * Compilers spill here; ek_tile.c says the same in C.
 */
#if defined(__thumb2__)
    .syntax unified
    .thumb

    .macro open
    push    {r3-r11, lr}
    ldm     r3, {r8-r11}
    .endm

    .macro close
    pop     {r3}
    stm     r3, {r8-r11}
    pop     {r4-r11, pc}
    .endm

/* r0, r1: rows of x; r2, r3: of w; r4-r7: elements. */
    .macro step_2x2
    ldrsb   r4, [r0], #1
    ldrsb   r5, [r1], #1
    ldrsb   r6, [r2], #1
    ldrsb   r7, [r3], #1
    mla     r8, r4, r6, r8
    mla     r9, r4, r7, r9
    mla     r10, r5, r6, r10
    mla     r11, r5, r7, r11
    .endm

    .section .text.ek_tile_2x2, "ax", %progbits
    .global ek_tile_2x2
    .type   ek_tile_2x2, %function
    .thumb_func
    .p2align 2
ek_tile_2x2:
    open
    mov     r12, r2
    mov     r2, r1
    add     r1, r0, r12
    add     r3, r2, r12
    /* Taps beyond a multiple of four first. */
1:  tst     r12, #3
    beq     2f
    step_2x2
    subs    r12, r12, #1
    b       1b
2:  cmp     r12, #0
    beq     4f
3:  step_2x2
    step_2x2
    step_2x2
    step_2x2
    subs    r12, r12, #4
    bne     3b
4:  close
    .size   ek_tile_2x2, . - ek_tile_2x2

/* r0: the row of x; r1-r4: of w; r5-r7, lr: elements. */
    .macro step_1x4
    ldrsb   r5, [r0], #1
    ldrsb   r6, [r1], #1
    ldrsb   r7, [r2], #1
    ldrsb   lr, [r3], #1
    mla     r8, r5, r6, r8
    ldrsb   r6, [r4], #1
    mla     r9, r5, r7, r9
    mla     r10, r5, lr, r10
    mla     r11, r5, r6, r11
    .endm

    .section .text.ek_tile_1x4, "ax", %progbits
    .global ek_tile_1x4
    .type   ek_tile_1x4, %function
    .thumb_func
    .p2align 2
ek_tile_1x4:
    open
    mov     r12, r2
    add     r2, r1, r12
    add     r3, r2, r12
    add     r4, r3, r12
1:  tst     r12, #3
    beq     2f
    step_1x4
    subs    r12, r12, #1
    b       1b
2:  cmp     r12, #0
    beq     4f
3:  step_1x4
    step_1x4
    step_1x4
    step_1x4
    subs    r12, r12, #4
    bne     3b
4:  close
    .size   ek_tile_1x4, . - ek_tile_1x4
#endif
#if defined(__linux__) && defined(__ELF__)
    .section .note.GNU-stack, "", %progbits /* or ld makes the stack executable, and says so */
#endif
