/* Frames over the UART: COBS(type | seq | payload | crc32, little endian) 0x00.
 *
 * docs/PROTOCOL.md describes the conversation; edgekit/devices/protocol.py is the other end. */
#ifndef EK_LINK_H
#define EK_LINK_H

#include <stdint.h>

#define EK_LINK_VERSION 1u
#define EK_LINK_DATA 256u    /* bytes of data in one frame, at most */
#define EK_LINK_PAYLOAD 272u /* data and what stands before it */

enum { /* from the host; each answer has the lower-case letter */
  EK_LINK_HELLO = 'H',
  EK_LINK_SIZE = 'Z',
  EK_LINK_WRITE = 'W',
  EK_LINK_RUN = 'R',
  EK_LINK_OUTPUT = 'O',
  EK_LINK_PROFILE = 'P',
  EK_LINK_LAYERS = 'L',
  EK_LINK_ACCELERATOR = 'A',
  EK_LINK_GPU = 'G',
  EK_LINK_TIME = 'T',
  EK_LINK_TUNING = 'Y',
  EK_LINK_STACK = 'S',
  EK_LINK_RESET = 'I',
  EK_LINK_CHECKSUM = 'K',
  EK_LINK_NOW = 'N'
};
enum { /* from the device without, or instead of, an answer */
  EK_LINK_NAK = '!',
  EK_LINK_REFUSED = '?',
  EK_LINK_FAULT = 'F'
};
enum { /* why a request was refused */
  EK_LINK_REFUSED_TYPE = 1,
  EK_LINK_REFUSED_LENGTH = 2,
  EK_LINK_REFUSED_RANGE = 3,
  EK_LINK_REFUSED_CLOSED = 4, /* the model could not be opened */
  EK_LINK_REFUSED_COUNTER = 5, /* a layer takes too long for the counter without interrupts */
  EK_LINK_REFUSED_INTERRUPTS = 6 /* the port cannot mask interrupts */
};
enum { /* how a profiled run is made */
  EK_LINK_RUN_COLD = 1,
  EK_LINK_RUN_BLIND = 2 /* interrupts off */
};
enum { /* what became of it; the first three and the last are EK_COLD_* */
  EK_LINK_RAN_COLD_CODE = 1,
  EK_LINK_RAN_COLD_DATA = 2,
  EK_LINK_RAN_COLD_OFF = 4,
  EK_LINK_RAN_COLD_BOARD = 8,
  EK_LINK_RAN_BLIND = 16,
  EK_LINK_RAN_UNCOUNTED = 32, /* the counter failed: the ticks mean nothing */
  EK_LINK_RAN_COLD_UNKNOWN = 64
};

typedef struct {
  uint8_t type, seq;
  const uint8_t *payload;
  uint32_t bytes;
} ek_request_t;

/* CRC-32 (IEEE 802.3, as zlib's) of `data` after bytes whose CRC-32 is `before`; 0 at the start. */
uint32_t ek_crc32(uint32_t before, const uint8_t *data, uint32_t bytes);

/* Wait for the next undamaged frame; damaged ones are answered with EK_LINK_NAK. */
void ek_link_receive(ek_request_t *request);

/* Compose an answer, then send it. It stays in place for ek_link_resend. */
void ek_link_begin(uint8_t type, uint8_t seq);
void ek_link_u8(uint8_t value);
void ek_link_u16(uint16_t value);
void ek_link_u32(uint32_t value);
void ek_link_u64(uint64_t value);
void ek_link_bytes(const uint8_t *data, uint32_t bytes);
void ek_link_text(const char *text); /* with its final zero */
void ek_link_send(void);
void ek_link_resend(void);

#endif
