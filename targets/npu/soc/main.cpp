// The board as a process: its UART is standard input and output.
//
//   soc FLASH    the file's bytes are the content of flash
//
// Ends with status 0 at the end of its input, with 2 and a message where it cannot start, and with 3
// where the CPU has gone wrong: "bad ADDRESS PC read|write".
#include <poll.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "Vtop.h"
#include "Vtop___024root.h"
#include "verilated.h"

namespace {

constexpr size_t FLASH_BYTES = 4u << 20, RAM_BYTES = 4u << 20;
constexpr int RESET_CYCLES = 8;
// Looks at an empty UART after which the program waits for input. Its clock then stands until there
// is some: no cycle that it counts depends on how long that takes.
constexpr unsigned IDLE_LOOKS = 16;
constexpr uint64_t POLL_EVERY = 1u << 16;  // cycles between two looks at the input while it runs
constexpr size_t WRITE_AT = 512;           // bytes that go out without waiting for more

class Board {
 public:
  explicit Board(VerilatedContext *context) : soc(context) {}

  bool load(const char *path) {
    // Neither memory powers up as zeros.
    std::vector<uint8_t> bytes(FLASH_BYTES + RAM_BYTES, 0xAA);
    std::memset(bytes.data(), 0xFF, FLASH_BYTES);
    FILE *file = std::fopen(path, "rb");
    if (file == nullptr) return false;
    const size_t found = std::fread(bytes.data(), 1, FLASH_BYTES, file);
    const bool whole = found > 0 && std::fgetc(file) == EOF && std::ferror(file) == 0;
    std::fclose(file);
    auto &words = soc.rootp->soc__DOT__memory__DOT__words;
    for (size_t i = 0; i < bytes.size() / 4; i++) {
      words[i] = static_cast<uint32_t>(bytes[4 * i]) | static_cast<uint32_t>(bytes[4 * i + 1]) << 8 |
                 static_cast<uint32_t>(bytes[4 * i + 2]) << 16 |
                 static_cast<uint32_t>(bytes[4 * i + 3]) << 24;
    }
    return whole;
  }

  int run() {
    soc.rst = 1;
    for (int i = 0; i < RESET_CYCLES; i++) cycle();
    soc.rst = 0;
    for (;;) {
      if (looks >= IDLE_LOOKS && !receive(true)) return 0;
      if (++cycles % POLL_EVERY == 0 && (!send() || !receive(false))) return 0;
      soc.clk = 0;
      soc.rx_valid = !received.empty();
      soc.rx_data = received.empty() ? 0 : received.front();
      soc.eval();
      // What the rising edge takes.
      if (soc.bad) return report();
      const bool taken = soc.rx_ready && soc.rx_valid;
      looks = soc.rx_empty ? looks + 1 : taken || soc.tx_valid ? 0 : looks;
      if (soc.tx_valid) sent.push_back(soc.tx_data);
      soc.clk = 1;
      soc.eval();
      if (taken) received.pop_front();
      if (sent.size() >= WRITE_AT && !send()) return 0;
    }
  }

 private:
  void cycle() {
    soc.clk = 0;
    soc.eval();
    soc.clk = 1;
    soc.eval();
  }

  int report() {
    std::fprintf(stderr, "bad %#010x %#010x %s\n", soc.bad_address,
                 soc.rootp->soc__DOT__cpu__DOT__lastStagePc, soc.bad_we ? "write" : "read");
    return 3;
  }

  // False at the end of the input.
  bool receive(bool wait) {
    uint8_t buffer[4096];
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    if (wait && !send()) return false;
    if (!wait && poll(&input, 1, 0) == 0) return true;
    const ssize_t count = read(STDIN_FILENO, buffer, sizeof buffer);
    if (count <= 0) return false;
    received.insert(received.end(), buffer, buffer + count);
    looks = 0;
    return true;
  }

  // False where nobody reads any more.
  bool send() {
    size_t done = 0;
    while (done < sent.size()) {
      const ssize_t count = write(STDOUT_FILENO, sent.data() + done, sent.size() - done);
      if (count <= 0) return false;
      done += static_cast<size_t>(count);
    }
    sent.clear();
    return true;
  }

  Vtop soc;
  std::deque<uint8_t> received;
  std::vector<uint8_t> sent;
  unsigned looks = 0;
  uint64_t cycles = 0;
};

}  // namespace

int main(int argc, char **argv) {
  VerilatedContext context;
  auto board = std::make_unique<Board>(&context);
  if (argc != 2 || !board->load(argv[1])) {
    std::fprintf(stderr, "%s: no content of flash, or more than %zu bytes\n",
                 argc > 1 ? argv[1] : "soc FLASH", FLASH_BYTES);
    return 2;
  }
  return board->run();
}
