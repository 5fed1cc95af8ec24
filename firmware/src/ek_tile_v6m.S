/* ek_tile_v6m.S - ek_tile_2x2 and ek_tile_1x4 for Armv6-M, which has eight registers for most
 * instructions. Four multiply-accumulates in 13 instructions: accumulators are in the upper
 * registers, where additions reach, and one index serves all rows. Compilers take 24; ek_tile.c says
 * the same in C.
 */
#if defined(__ARM_ARCH_6M__)
    .syntax unified
    .thumb

    .macro open
    push    {r4-r7, lr}
    mov     r4, r8
    mov     r5, r9
    mov     r6, r10
    mov     r7, r11
    push    {r3-r7}
    ldm     r3!, {r4-r7}
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
    .endm

    .macro close
    pop     {r0, r4-r7}
    mov     r1, r8
    mov     r2, r9
    stm     r0!, {r1, r2}
    mov     r1, r10
    mov     r2, r11
    stm     r0!, {r1, r2}
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
    pop     {r4-r7, pc}
    .endm

/* r0, r1: ends of the rows of x; r2, r3: of w; r4: index, negative; r5-r7: elements. */
    .macro step_2x2
    ldrsb   r5, [r0, r4]
    ldrsb   r6, [r2, r4]
    mov     r7, r6
    muls    r7, r5
    add     r8, r7
    ldrsb   r7, [r1, r4]
    muls    r6, r7
    add     r10, r6
    ldrsb   r6, [r3, r4]
    muls    r5, r6
    add     r9, r5
    muls    r6, r7
    add     r11, r6
    adds    r4, #1
    .endm

    .section .text.ek_tile_2x2, "ax", %progbits
    .global ek_tile_2x2
    .type   ek_tile_2x2, %function
    .thumb_func
    .p2align 2
ek_tile_2x2:
    open
    movs    r5, r1
    adds    r0, r0, r2      /* end of the first row of x */
    adds    r1, r0, r2
    negs    r4, r2
    adds    r3, r5, r2      /* end of the first row of w, */
    adds    r5, r3, r2
    movs    r2, r3
    movs    r3, r5          /* and of the second */
    /* Taps beyond a multiple of four first. */
1:  lsls    r5, r4, #30
    beq     2f
    step_2x2
    b       1b
2:  cmp     r4, #0
    beq     4f
3:  step_2x2
    step_2x2
    step_2x2
    step_2x2
    bne     3b
4:  close
    .size   ek_tile_2x2, . - ek_tile_2x2

/* r0: end of the row of x; r1, r2, r3, r5: of w; r4: index, negative; r6, r7: elements. */
    .macro step_1x4
    ldrsb   r6, [r0, r4]
    ldrsb   r7, [r1, r4]
    muls    r7, r6
    add     r8, r7
    ldrsb   r7, [r2, r4]
    muls    r7, r6
    add     r9, r7
    ldrsb   r7, [r3, r4]
    muls    r7, r6
    add     r10, r7
    ldrsb   r7, [r5, r4]
    muls    r7, r6
    add     r11, r7
    adds    r4, #1
    .endm

    .section .text.ek_tile_1x4, "ax", %progbits
    .global ek_tile_1x4
    .type   ek_tile_1x4, %function
    .thumb_func
    .p2align 2
ek_tile_1x4:
    open
    adds    r0, r0, r2
    adds    r1, r1, r2
    negs    r4, r2
    subs    r5, r1, r4      /* each row ends `taps` after the one before */
    subs    r3, r5, r4
    subs    r6, r3, r4
    movs    r2, r5
    movs    r5, r6
1:  lsls    r6, r4, #30
    beq     2f
    step_1x4
    b       1b
2:  cmp     r4, #0
    beq     4f
3:  step_1x4
    step_1x4
    step_1x4
    step_1x4
    bne     3b
4:  close
    .size   ek_tile_1x4, . - ek_tile_1x4
#endif
#if defined(__linux__) && defined(__ELF__)
    .section .note.GNU-stack, "", %progbits /* or ld makes the stack executable, and says so */
#endif
