/* The transport "usb" on an RP2040: its USB controller as a serial port of the host's, a device of the
 * communications class with the abstract control model (USB 2.0, chapter 9; CDC PSTN 1.2). Registers
 * and DPSRAM: RP2040 Datasheet, 4.1. The board's steps have brought its 48 MHz up.
 *
 * Polled. What the host asks is answered when a byte is put or wanted; while a model runs the controller
 * says NAK by itself, and hosts wait for 5 s. */
#include <stdbool.h>

#include "ek_register.h"
#include "ek_uart.h"

#define DPSRAM 0x50100000u
#define USB 0x50110000u

#define BYTE(offset) (*(volatile uint8_t *)(uintptr_t)(DPSRAM + (offset)))
#define SETUP_LOW EK_REG(DPSRAM + 0u)
#define SETUP_HIGH EK_REG(DPSRAM + 4u)
#define ENDPOINT_CONTROL(endpoint, out) EK_REG(DPSRAM + 8u * (endpoint) + 4u * (out))
#define BUFFER_CONTROL(endpoint, out) EK_REG(DPSRAM + 0x80u + 8u * (endpoint) + 4u * (out))

#define ADDR_ENDP EK_REG(USB + 0x00u)
#define MAIN_CTRL EK_REG(USB + 0x40u)
#define SIE_CTRL EK_REG(USB + 0x4Cu)
#define SIE_STATUS EK_REG(USB + 0x50u)
#define BUFF_STATUS EK_REG(USB + 0x58u) /* a bit for each buffer that is done: IN, OUT of 0, 1, ... */
#define EP_STALL_ARM EK_REG(USB + 0x68u)
#define USB_MUXING EK_REG(USB + 0x74u)
#define USB_PWR EK_REG(USB + 0x78u)
#define INTE EK_REG(USB + 0x90u)

#define ENABLE (1u << 31)          /* of an endpoint */
#define DONE_EACH_BUFFER (1u << 29) /* BUFF_STATUS: of an endpoint, and in SIE_CTRL of endpoint 0 */
#define TYPE_SHIFT 26
#define FULL (1u << 15)
#define LAST (1u << 14)
#define DATA1 (1u << 13)
#define STALL (1u << 11)
#define AVAILABLE (1u << 10)
#define LENGTH 0x3FFu
#define PULLUP (1u << 16)
#define BUS_RESET (1u << 19)
#define SETUP_RECEIVED (1u << 17)

enum { IN = 0, OUT = 1 };
enum { CONTROL = 0, NOTES = 1, DATA = 2 };      /* endpoints: the class wants one for notes, unused */
enum { BULK = 2, INTERRUPT = 3 };               /* their types */
enum { CONTROL_AT = 0x100, NOTES_AT = 0x180, IN_AT = 0x1C0, OUT_AT = 0x200 }; /* their buffers */
enum { PACKET = 64, NO_ADDRESS = 0x80 };
/* What is sent is never a full packet, so that each ends a transfer and the host hands it on at once. */
enum { SENT = PACKET - 1 };

#define WORD(x) (uint8_t)((x) & 0xFFu), (uint8_t)((x) >> 8)

static const uint8_t device_descriptor[18] = {
    18, 1, WORD(0x200), 0xEF, 2, 1, PACKET, WORD(EK_USB_VENDOR), WORD(EK_USB_PRODUCT), WORD(0x100),
    1,  2, 0,           1,
};
enum { CONFIGURATION_BYTES = 75 };
static const uint8_t configuration_descriptor[CONFIGURATION_BYTES] = {
    9, 2, WORD(CONFIGURATION_BYTES), 2, 1, 0, 0x80, 50, /* by the bus's power, 100 mA */
    8, 11, 0, 2, 2, 2, 0, 0,                            /* both interfaces are one function */
    9, 4, 0, 0, 1, 2, 2, 0, 0,                          /* communications, abstract control model */
    5, 0x24, 0, WORD(0x110),                            /* header */
    5, 0x24, 1, 0, 1,                                   /* no call management */
    4, 0x24, 2, 2,                                      /* line coding and line state */
    5, 0x24, 6, 0, 1,                                   /* union */
    7, 5, 0x80 | NOTES, INTERRUPT, WORD(8), 255,        /* looked at every 255 ms */
    9, 4, 1, 0, 2, 10, 0, 0, 0,                         /* data */
    7, 5, DATA, BULK, WORD(PACKET), 0,                  /* from the host */
    7, 5, 0x80 | DATA, BULK, WORD(PACKET), 0,           /* to the host */
};
static const uint8_t languages[4] = {4, 3, WORD(0x409)};
static const uint8_t name[16] = {16, 3, 'e', 0, 'd', 0, 'g', 0, 'e', 0, 'k', 0, 'i', 0, 't', 0};
static const uint8_t zeros[2];

static struct {
  const uint8_t *rest; /* of an answer of endpoint 0 */
  uint32_t rest_bytes;
  uint32_t next[3][2];  /* each endpoint's next packet is DATA1 */
  uint32_t got, taken;  /* bytes in the buffer from the host, and of them read */
  uint32_t put;         /* bytes in `packet` */
  bool sending;         /* the buffer to the host is the controller's */
  bool receiving;       /* so is the one from it */
  bool answering;       /* the host acknowledges what it reads from endpoint 0 */
  bool coding_comes;    /* endpoint 0 gets a line coding */
  uint8_t address;      /* from the end of this request on; NO_ADDRESS: as it is */
  uint8_t configuration;
  uint8_t coding[7]; /* baud rate and format, which mean nothing here: kept and told */
  uint8_t packet[SENT];
} usb;

/* Give a buffer to the controller. */
static void arm(uint32_t endpoint, uint32_t out, uint32_t bytes) {
  uint32_t value = bytes | LAST | (out ? 0u : FULL) | (usb.next[endpoint][out] ? DATA1 : 0u);
  BUFFER_CONTROL(endpoint, out) = value;
  /* The controller, whose clock is slower, must see the rest before AVAILABLE (Datasheet, 4.1.2,
   * "Concurrent access"): six reads are more than three of its cycles at 125 MHz. */
  for (uint32_t i = 0; i < 6; i++) (void)BUFFER_CONTROL(endpoint, out);
  BUFFER_CONTROL(endpoint, out) = value | AVAILABLE;
  usb.next[endpoint][out] ^= 1u;
}

static void answer_part(void) {
  uint32_t bytes = usb.rest_bytes < PACKET ? usb.rest_bytes : PACKET;
  for (uint32_t i = 0; i < bytes; i++) BYTE(CONTROL_AT + i) = usb.rest[i];
  usb.rest += bytes;
  usb.rest_bytes -= bytes;
  arm(CONTROL, IN, bytes);
}

/* None of our answers is a multiple of a packet, so no empty one has to end it. */
static void answer(const uint8_t *data, uint32_t bytes, uint32_t wanted) {
  usb.rest = data;
  usb.rest_bytes = bytes < wanted ? bytes : wanted;
  usb.answering = true;
  answer_part();
}

static void acknowledge(void) { arm(CONTROL, IN, 0); }

static void refuse(void) {
  EP_STALL_ARM = 3u;
  BUFFER_CONTROL(CONTROL, IN) = STALL;
  BUFFER_CONTROL(CONTROL, OUT) = STALL;
}

static void receive(void) {
  usb.got = usb.taken = 0;
  usb.receiving = true;
  arm(DATA, OUT, PACKET);
}

static void describe(uint32_t value, uint32_t wanted) {
  switch (value) {
    case 0x100: answer(device_descriptor, sizeof device_descriptor, wanted); break;
    case 0x200: answer(configuration_descriptor, CONFIGURATION_BYTES, wanted); break;
    case 0x300: answer(languages, sizeof languages, wanted); break;
    case 0x301:
    case 0x302: answer(name, sizeof name, wanted); break;
    default: refuse(); /* a device of full speed has no qualifier, this one no serial number */
  }
}

static void forget(void) {
  usb.configuration = 0;
  usb.got = usb.taken = usb.put = 0;
  usb.sending = usb.receiving = false;
}

static void configure(uint8_t configuration) {
  forget();
  usb.configuration = configuration;
  for (uint32_t i = NOTES; i <= DATA; i++) usb.next[i][IN] = usb.next[i][OUT] = 0;
  if (configuration == 0) return;
  uint32_t bulk = ENABLE | DONE_EACH_BUFFER | (uint32_t)BULK << TYPE_SHIFT;
  ENDPOINT_CONTROL(NOTES, IN) = ENABLE | (uint32_t)INTERRUPT << TYPE_SHIFT | NOTES_AT;
  ENDPOINT_CONTROL(DATA, IN) = bulk | IN_AT;
  ENDPOINT_CONTROL(DATA, OUT) = bulk | OUT_AT;
  receive();
}

/* The host starts an endpoint's packets anew with DATA0; one that is under way is given again. */
static void clear_halt(uint32_t index) {
  uint32_t out = index & 0x80u ? IN : OUT;
  if ((index & 15u) != DATA || usb.configuration == 0) return;
  usb.next[DATA][out] = 0;
  if (out == OUT && usb.receiving) receive();
  if (out == IN && usb.sending) arm(DATA, IN, BUFFER_CONTROL(DATA, IN) & LENGTH);
}

static void request(void) {
  uint32_t low = SETUP_LOW, high = SETUP_HIGH;
  BUFF_STATUS = 3u; /* what the request before this one left undone is over */
  uint32_t value = low >> 16, index = high & 0xFFFFu, wanted = high >> 16;
  usb.next[CONTROL][IN] = usb.next[CONTROL][OUT] = 1;
  usb.rest_bytes = 0;
  usb.answering = usb.coding_comes = false;
  usb.address = NO_ADDRESS;
  switch ((low & 0xE0u) << 8 | (low >> 8 & 0xFFu)) { /* direction and type, and which */
    case 0x8000: answer(zeros, 2, wanted); break;    /* status: neither halted nor self-powered */
    case 0x0001:                                     /* clear a feature */
      if ((low & 31u) == 2u) clear_halt(index);
      acknowledge();
      break;
    case 0x0005: /* address */
      usb.address = value & 0x7Fu;
      acknowledge();
      break;
    case 0x8006: describe(value, wanted); break;
    case 0x8008: answer(&usb.configuration, 1, wanted); break;
    case 0x0009: /* configuration */
      if (value > 1u) {
        refuse();
        break;
      }
      configure((uint8_t)value);
      acknowledge();
      break;
    case 0x800A: answer(zeros, 1, wanted); break; /* alternate setting of an interface */
    case 0x000B:                                  /* choose one: there is one */
    case 0x2022:                                  /* line state: DTR and RTS */
    case 0x2023: acknowledge(); break;            /* break */
    case 0x2020:                                  /* line coding */
      usb.coding_comes = true;
      arm(CONTROL, OUT, PACKET);
      break;
    case 0xA021: answer(usb.coding, sizeof usb.coding, wanted); break;
    default: refuse();
  }
}

static void control_sent(void) {
  if (usb.address != NO_ADDRESS) {
    ADDR_ENDP = usb.address;
    usb.address = NO_ADDRESS;
  } else if (usb.rest_bytes != 0) {
    answer_part();
  } else if (usb.answering) {
    usb.answering = false;
    usb.next[CONTROL][OUT] = 1;
    arm(CONTROL, OUT, 0);
  }
}

static void control_received(void) {
  if (!usb.coding_comes) return;
  usb.coding_comes = false;
  uint32_t bytes = BUFFER_CONTROL(CONTROL, OUT) & LENGTH;
  for (uint32_t i = 0; i < sizeof usb.coding && i < bytes; i++) usb.coding[i] = BYTE(CONTROL_AT + i);
  acknowledge();
}

static void poll(void) {
  uint32_t done = BUFF_STATUS;
  BUFF_STATUS = done;
  if (done & 1u) control_sent();
  if (done & 2u) control_received();
  if (usb.configuration != 0) {
    if (done & 1u << 2 * DATA) usb.sending = false;
    if (done & 2u << 2 * DATA) {
      usb.receiving = false;
      usb.got = BUFFER_CONTROL(DATA, OUT) & LENGTH;
      if (usb.got == 0) receive();
    }
  }
  uint32_t status = SIE_STATUS;
  if (status & BUS_RESET) {
    ADDR_ENDP = 0;
    forget();
    SIE_STATUS = BUS_RESET;
  }
  if (status & SETUP_RECEIVED) {
    SIE_STATUS = SETUP_RECEIVED;
    request();
  }
}

static void flush(void) {
  if (usb.put == 0 || usb.sending || usb.configuration == 0) return;
  for (uint32_t i = 0; i < usb.put; i++) BYTE(IN_AT + i) = usb.packet[i];
  usb.sending = true;
  arm(DATA, IN, usb.put);
  usb.put = 0;
}

void ek_uart_init(void) {
  for (uint32_t i = 0; i < CONTROL_AT; i += 4u) EK_REG(DPSRAM + i) = 0;
  usb.address = NO_ADDRESS;
  INTE = 0;
  USB_MUXING = 1u | 1u << 3;   /* to the pins' transceiver, which is connected by software */
  USB_PWR = 1u << 2 | 1u << 3; /* there is no pin for the bus's power: it is there */
  MAIN_CTRL = 1u;              /* on, a device */
  SIE_CTRL = DONE_EACH_BUFFER;
  SIE_CTRL = DONE_EACH_BUFFER | PULLUP;
}

/* Waits for a host that does not read; where there is none, nobody misses the byte. */
void ek_uart_put(uint8_t byte) {
  while (usb.put == SENT) {
    poll();
    if (usb.configuration == 0) usb.put = 0;
    flush();
  }
  usb.packet[usb.put++] = byte;
}

int32_t ek_uart_get(void) {
  poll();
  flush();
  if (usb.taken == usb.got) return -1;
  int32_t byte = BYTE(OUT_AT + usb.taken);
  if (++usb.taken == usb.got) receive();
  return byte;
}
