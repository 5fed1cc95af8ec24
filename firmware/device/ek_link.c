#include "ek_link.h"

#include <stdbool.h>
#include <string.h>

#include "ek_uart.h"

#define HEAD 2u /* type, seq */
#define CRC 4u
#define FRAME (HEAD + EK_LINK_PAYLOAD + CRC)
#define STUFFED (FRAME + FRAME / 254u + 1u)

static uint8_t received[STUFFED];
static uint8_t answer[FRAME];
static uint32_t answer_bytes;

/* Four bits at a time: 64 bytes of table. */
uint32_t ek_crc32(uint32_t before, const uint8_t *data, uint32_t bytes) {
  static const uint32_t table[16] = {
      0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
      0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
      0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
  };
  uint32_t crc = ~before;
  for (uint32_t i = 0; i < bytes; i++) {
    crc ^= data[i];
    crc = crc >> 4 ^ table[crc & 15u];
    crc = crc >> 4 ^ table[crc & 15u];
  }
  return ~crc;
}

static uint32_t read_u32(const uint8_t *from) {
  return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
         (uint32_t)from[3] << 24;
}

/* Decode COBS in place. Returns the decoded size, or 0 where the code is impossible. */
static uint32_t unstuff(uint8_t *data, uint32_t bytes) {
  uint32_t from = 0, to = 0;
  while (from < bytes) {
    uint32_t code = data[from++];
    if (from + code - 1u > bytes) return 0;
    for (uint32_t i = 1; i < code; i++) data[to++] = data[from++];
    if (code < 255u && from < bytes) data[to++] = 0;
  }
  return to;
}

static void send(const uint8_t *data, uint32_t bytes) {
  uint32_t start = 0;
  ek_uart_put(0); /* ends whatever noise came before */
  for (;;) {
    uint32_t run = 0;
    while (start + run < bytes && run < 254u && data[start + run] != 0) run++;
    ek_uart_put((uint8_t)(run + 1u));
    for (uint32_t i = 0; i < run; i++) ek_uart_put(data[start + i]);
    start += run;
    if (start >= bytes) break;
    if (run < 254u) start++; /* the zero that the code stands for */
  }
  ek_uart_put(0);
}

static void finish(uint8_t *frame, uint32_t bytes) {
  uint32_t crc = ek_crc32(0, frame, bytes);
  for (uint32_t i = 0; i < CRC; i++) frame[bytes + i] = (uint8_t)(crc >> (8u * i));
}

static bool whole(uint32_t bytes) {
  return bytes >= HEAD + CRC && ek_crc32(0, received, bytes - CRC) == read_u32(received + bytes - CRC);
}

void ek_link_receive(ek_request_t *request) {
  uint32_t bytes = 0;
  for (;;) {
    int32_t byte = ek_uart_get();
    if (byte < 0) continue;
    if (byte != 0) {
      if (bytes < STUFFED) received[bytes] = (uint8_t)byte;
      if (bytes <= STUFFED) bytes++; /* STUFFED + 1: too long */
      continue;
    }
    if (bytes == 0) continue; /* two delimiters in a row */
    bytes = bytes <= STUFFED ? unstuff(received, bytes) : 0;
    if (whole(bytes)) break;
    uint8_t nak[HEAD + CRC] = {EK_LINK_NAK, 0, 0, 0, 0, 0};
    finish(nak, HEAD);
    send(nak, sizeof nak);
    bytes = 0;
  }
  request->type = received[0];
  request->seq = received[1];
  request->payload = received + HEAD;
  request->bytes = bytes - HEAD - CRC;
}

void ek_link_begin(uint8_t type, uint8_t seq) {
  answer[0] = type;
  answer[1] = seq;
  answer_bytes = HEAD;
}

void ek_link_bytes(const uint8_t *data, uint32_t bytes) {
  if (answer_bytes + bytes > HEAD + EK_LINK_PAYLOAD) return; /* a bug of ours; never overrun */
  memcpy(answer + answer_bytes, data, bytes);
  answer_bytes += bytes;
}

static void put(uint64_t value, uint32_t bytes) {
  uint8_t little[8];
  for (uint32_t i = 0; i < bytes; i++) little[i] = (uint8_t)(value >> (8u * i));
  ek_link_bytes(little, bytes);
}

void ek_link_u8(uint8_t value) { put(value, 1); }
void ek_link_u16(uint16_t value) { put(value, 2); }
void ek_link_u32(uint32_t value) { put(value, 4); }
void ek_link_u64(uint64_t value) { put(value, 8); }

static uint32_t text_bytes(const char *text) {
  uint32_t bytes = 0;
  while (text[bytes] != 0) bytes++;
  return bytes + 1u;
}

void ek_link_text(const char *text) { ek_link_bytes((const uint8_t *)text, text_bytes(text)); }

void ek_link_send(void) {
  finish(answer, answer_bytes);
  answer_bytes += CRC;
  ek_link_resend();
}

void ek_link_resend(void) { send(answer, answer_bytes); }
