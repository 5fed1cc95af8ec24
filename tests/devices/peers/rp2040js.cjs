// A flash image in rp2040js, an RP2040 by other hands. The boot ROM is played by hand: it copies 252
// bytes of flash to SRAM and calls them (RP2040 Datasheet, 2.8.1).
// Arguments: folder with node_modules, image, bytes for UART0 in hexadecimal, instructions.
const { createRequire } = require("module");
const { readFileSync } = require("fs");
const [folder, image, sent, limit] = process.argv.slice(2);
const { RP2040, ConsoleLogger, LogLevel } = createRequire(folder + "/")("rp2040js");

const STAGE2 = 0x20041f00;
const chip = new RP2040();
chip.logger = new ConsoleLogger(LogLevel.Error);
const flash = readFileSync(image);
chip.flash.fill(0xff);
chip.flash.set(flash);
for (let i = 0; i < 252; i++) chip.writeUint8(STAGE2 + i, flash[i]);
chip.core.SP = STAGE2;
chip.core.PC = STAGE2;
const received = [];
chip.uart[0].onByte = (byte) => received.push(byte);
for (let n = 0; n < Number(limit); n++) {
  if (n === Number(limit) / 2) for (const b of Buffer.from(sent, "hex")) chip.uart[0].feedByte(b);
  chip.core.executeInstruction();
}
console.log(
  JSON.stringify({
    received: Buffer.from(received).toString("hex"),
    baud: chip.uart[0].baudRate,
    vtor: chip.core.VTOR,
  })
);
