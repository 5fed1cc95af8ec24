// A flash image in rp2040js, an RP2040 by other hands, on a USB host that is written here after USB 2.0,
// chapter 9: it resets, addresses and configures the device, checks DATA0 and DATA1 of every packet,
// and then carries the bulk pipes to standard output and from standard input.
// Arguments: folder with node_modules, image, "describe": only enumerate, twice, and print JSON.
const { createRequire } = require("module");
const { readFileSync } = require("fs");
const [folder, image, mode] = process.argv.slice(2);
const { RP2040, ConsoleLogger, LogLevel } = createRequire(folder + "/")("rp2040js");

const STAGE2 = 0x20041f00, SLICE = 20000, NANOS = 8, PACKET = 64, DATA = 2, ADDRESS = 9;
const AVAILABLE = 1 << 10, DATA1 = 1 << 13, BUFFERS = 0x80, ENDPOINTS = 3;
const CODING = [0x00, 0xc2, 0x01, 0x00, 0, 0, 8]; // 115200 8N1
// bmRequestType, bRequest, wValue, wIndex, wLength, data to the device
const REQUESTS = [
  [0x80, 6, 0x100, 0, 8], // the device before its address is known: its packet size
  [0x00, 5, ADDRESS, 0, 0],
  [0x80, 6, 0x100, 0, 18],
  [0x80, 6, 0x600, 0, 10], // a qualifier, which a device of full speed has not
  [0x80, 6, 0x200, 0, 9],
  [0x80, 6, 0x200, 0, 255],
  [0x80, 6, 0x300, 0, 255],
  [0x80, 6, 0x302, 0x409, 255],
  [0x80, 0, 0, 0, 2],
  [0x00, 9, 1, 0, 0],
  [0x80, 8, 0, 0, 1],
  [0x21, 0x20, 0, 0, 7, CODING],
  [0xa1, 0x21, 0, 0, 7],
  [0x21, 0x22, 3, 0, 0],
  [0x02, 1, 0, 0x80 | DATA, 0], // pipes that begin anew, as macOS has it
  [0x02, 1, 0, DATA, 0],
];

const chip = new RP2040();
chip.logger = new ConsoleLogger(LogLevel.Error);
const flash = readFileSync(image);
chip.flash.fill(0xff);
chip.flash.set(flash);
for (let i = 0; i < 252; i++) chip.writeUint8(STAGE2 + i, flash[i]);
chip.core.SP = STAGE2;
chip.core.PC = STAGE2;

const usb = chip.usbCtrl;
const rounds = [];
let current = -1, answer = [], toggles = {}, armed = false, ready = false, pending = Buffer.alloc(0);

function fail(why) {
  process.stderr.write(why + "\n");
  process.exit(1);
}

function next(result) {
  if (current >= 0) rounds[rounds.length - 1].push(result);
  current++;
  if (current === REQUESTS.length) return enumerated();
  const [type, request, value, index, length] = REQUESTS[current];
  if (type === 0 && request === 9) toggles = {};
  if (type === 2 && request === 1) delete toggles[index & 0x80 ? "in2" : "out2"];
  answer = [];
  toggles.in0 = toggles.out0 = 1;
  usb.epStallArm = 0;
  usb.sendSetupPacket(Uint8Array.from([type, request, value & 255, value >> 8, index & 255,
    index >> 8, length & 255, length >> 8]));
}

function enumerated() {
  if (mode !== "describe") return void ((ready = true), supply());
  if (rounds.length === 1) return usb.resetDevice();
  console.log(JSON.stringify(rounds));
  process.exit(0);
}

usb.onUSBEnabled = () => usb.resetDevice();
usb.onResetReceived = () => {
  if (usb.addrEndp !== 0) fail(`address ${usb.addrEndp} after a reset`);
  rounds.push([]);
  current = -1;
  armed = ready = false;
  next();
};

const updated = usb.DPRAMUpdated.bind(usb);
usb.DPRAMUpdated = (offset, value) => {
  if (value & AVAILABLE && offset >= BUFFERS && offset < BUFFERS + 8 * ENDPOINTS) {
    const name = (offset & 4 ? "out" : "in") + ((offset - BUFFERS) >> 3);
    const wanted = toggles[name] || 0, found = value & DATA1 ? 1 : 0;
    if (name !== "out0" || current >= 0) {
      if (found !== wanted) fail(`${name}: DATA${found} where DATA${wanted} is due`);
    }
    toggles[name] = wanted ^ 1;
  }
  updated(offset, value);
};

usb.onEndpointWrite = (endpoint, buffer) => {
  if (endpoint === DATA) return void process.stdout.write(buffer);
  const [type, , , , length] = REQUESTS[current];
  if (!(type & 0x80)) {
    if (buffer.length) fail("a status stage with data");
    over = "ok";
    return;
  }
  answer.push(...buffer);
  if (answer.length > length) fail("a longer answer than was asked for");
  whole = buffer.length < PACKET || answer.length === length;
  acknowledge();
};

// rp2040js says that a packet was taken some microseconds before it hands it over: the device may
// wait for the host's acknowledgement before the answer is here.
let whole = false, waited = false;
function acknowledge() {
  if (!whole || !waited) return;
  whole = waited = false;
  usb.endpointReadDone(0, new Uint8Array(0));
  over = Buffer.from(answer).toString("hex");
}

/** The result of a request that is over; the next one follows when the device has seen that. */
let over = null;
usb.onEndpointRead = (endpoint) => {
  if (endpoint === DATA) return void ((armed = true), supply());
  const [type, , , , , data] = REQUESTS[current];
  if (type & 0x80) {
    waited = true;
    return acknowledge();
  }
  usb.endpointReadDone(0, Uint8Array.from(data));
};

function supply() {
  if (!armed || !ready || pending.length === 0) return;
  armed = false;
  usb.endpointReadDone(DATA, Uint8Array.from(pending.subarray(0, PACKET)));
  pending = pending.subarray(PACKET);
}

process.stdin.on("data", (bytes) => {
  pending = Buffer.concat([pending, bytes]);
  supply();
});
process.stdin.on("end", () => mode === "describe" || process.exit(0));

function run() {
  for (let i = 0; i < SLICE; i++) chip.clock.tick(chip.core.executeInstruction() * NANOS);
  if (usb.epStallArm && current >= 0 && current < REQUESTS.length) over = "stall";
  if (over !== null) {
    if (current >= 1 && usb.addrEndp !== ADDRESS) fail(`address ${usb.addrEndp}`);
    const result = over;
    over = null;
    next(result);
  }
  setImmediate(run);
}
run();
