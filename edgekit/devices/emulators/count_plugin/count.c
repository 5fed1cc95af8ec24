/* A TCG plugin for qemu-user: a counter of executed instructions that the program can read.
 *
 * The program reads 8 bytes from descriptor COUNTER. Before QEMU performs that system call the
 * plugin writes the count into the pipe whose other end the descriptor is: all instructions up to
 * and with that of the system call. A program that does not run under the plugin has no such
 * descriptor.
 *
 * Counted are whole translation blocks when they begin; a system call ends its block, so the count
 * is exact there. Threads of the program are counted together.
 *
 * Declared here is what is used of QEMU's plugin API (docs/devel/tcg-plugins of QEMU); the symbols
 * are those of the program that loads the plugin. EK_PLUGIN_API is the API's version.
 */
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

typedef uint64_t plugin_id_t;
typedef struct {
  const char *target_name;
  struct {
    int min, cur;
  } version;
} info_t; /* begins so */
typedef struct block block_t;

enum { NO_REGISTERS = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id_t id, void (*)(plugin_id_t, block_t *));
void qemu_plugin_register_vcpu_tb_exec_cb(block_t *block, void (*)(unsigned, void *), int flags,
                                          void *data);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id_t id,
                                          void (*)(plugin_id_t, unsigned, int64_t, uint64_t,
                                                   uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                   uint64_t, uint64_t));
size_t qemu_plugin_tb_n_insns(const block_t *block);

EXPORTED int qemu_plugin_version = EK_PLUGIN_API;
EXPORTED int qemu_plugin_install(plugin_id_t id, const info_t *info, int count, char **arguments);

enum { COUNTER = EK_EMULATOR_COUNTER };

static uint64_t executed;
static int64_t read_call;
static int writing;

static void on_execute(unsigned cpu, void *instructions) {
  (void)cpu;
  __atomic_fetch_add(&executed, (uintptr_t)instructions, __ATOMIC_RELAXED);
}

static void on_translate(plugin_id_t id, block_t *block) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_cb(block, on_execute, NO_REGISTERS,
                                       (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void on_call(plugin_id_t id, unsigned cpu, int64_t number, uint64_t file, uint64_t buffer,
                    uint64_t bytes, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7,
                    uint64_t a8) {
  uint64_t count = __atomic_load_n(&executed, __ATOMIC_RELAXED);
  (void)id, (void)cpu, (void)buffer, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  if (number != read_call || (uint32_t)file != COUNTER || (uint32_t)bytes != sizeof count) return;
  if (write(writing, &count, sizeof count) != (ssize_t)sizeof count) {
    fputs("edgekit: the counter of instructions cannot be written\n", stderr);
  }
}

/* The number of the system call read; Linux, as in firmware/linux/ek_linux.h. */
static int64_t read_of(const char *cpu) {
  if (strcmp(cpu, "aarch64") == 0) return 63;
  if (strcmp(cpu, "arm") == 0) return 3;
  return -1;
}

/* The reading end at its place, the writing end further up: both out of the way of descriptors that
 * a program opens itself. */
static int open_pipe(void) {
  int ends[2];
  if (fcntl(COUNTER, F_GETFD) != -1 || pipe(ends) != 0) return 0;
  writing = fcntl(ends[1], F_DUPFD_CLOEXEC, COUNTER + 1);
  if (writing < 0 || dup2(ends[0], COUNTER) != COUNTER) return 0;
  (void)close(ends[0]);
  (void)close(ends[1]);
  return 1;
}

int qemu_plugin_install(plugin_id_t id, const info_t *info, int count, char **arguments) {
  (void)count, (void)arguments;
  read_call = read_of(info->target_name);
  if (read_call < 0 || !open_pipe()) {
    fprintf(stderr, "edgekit: no counter of instructions for %s here\n", info->target_name);
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
  qemu_plugin_register_vcpu_syscall_cb(id, on_call);
  return 0;
}
