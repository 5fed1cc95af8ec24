/* Second stage of the RP2040 (RP2040 Datasheet, 2.8.1.3.1): the boot ROM copies the first 252 bytes
 * of flash to SRAM, checks the four bytes of CRC after them and calls them at their start.
 *
 * Serial flash is read with command 03h, one line, 24 address bits, which every part knows, at a
 * quarter of the system clock. SSI registers: section 4.10.13. */
    .syntax unified
    .cpu cortex-m0plus
    .thumb
    .section .stage2, "ax"
    .balign 4
    .equ SSI_BASE, 0x18000000
    .equ SSI_CTRLR0, 0x00
    .equ SSI_CTRLR1, 0x04
    .equ SSI_SSIENR, 0x08
    .equ SSI_BAUDR, 0x14
    .equ SSI_SPI_CTRLR0, 0xF4
    .equ SCB_VTOR, 0xE000ED08
stage2:
    ldr r3, =SSI_BASE
    movs r0, #0
    str r0, [r3, #SSI_SSIENR] /* off while it is changed */
    str r0, [r3, #SSI_CTRLR1] /* one frame at a time */
    movs r1, #4
    str r1, [r3, #SSI_BAUDR]
    ldr r1, =(31 << 16) | (3 << 8) /* 32-bit frames, "EEPROM read", one line */
    str r1, [r3, #SSI_CTRLR0]
    ldr r1, =(0x03 << 24) | (2 << 8) | (6 << 2) /* command of 8 bits, address of 6 times 4 */
    ldr r2, =SSI_BASE + SSI_SPI_CTRLR0
    str r1, [r2]
    movs r0, #1
    str r0, [r3, #SSI_SSIENR]
    ldr r0, =0x10000100 /* the vector table, right after this stage */
    ldr r1, =SCB_VTOR
    str r0, [r1]
    ldr r1, [r0]
    msr msp, r1
    ldr r0, [r0, #4]
    bx r0
    .pool
