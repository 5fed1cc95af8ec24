/* What firmware/linux/ek_system.h does, in one line for each command of standard input. Started
 * without a C library: the port's _start and UART are not there either. */
#include "ek_linux.h"
#include "ek_system.h"

enum { LINE = 512, BYTES = 4096 };
static char line[LINE], value[64];
static uint8_t data[BYTES];

static void number(uint64_t n)
{
    char digits[24];
    uint32_t first = sizeof digits - 1u;
    digits[first] = '\0';
    do {
        first -= 1u;
        digits[first] = (char)('0' + (uint32_t)(n % 10u));
        n /= 10u;
    } while (n != 0u);
    ek_print(1, digits + first);
}

static uint32_t next_line(void)
{
    uint32_t n = 0u;
    while (n + 1u < LINE && ek_syscall(SYS_READ, 0, (intptr_t)(line + n), 1, 0) == 1 &&
           line[n] != '\n') {
        n += 1u;
    }
    line[n] = '\0';
    return n;
}

/* The sum of a file's bytes behind their number. */
static void read_file(const char *path)
{
    const uint32_t found = ek_file_read(path, data, BYTES);
    uint64_t sum = 0u;
    for (uint32_t i = 0; i < found; ++i) {
        sum += data[i];
    }
    number(found);
    ek_print(1, " ");
    number(sum);
}

static void try_time(void)
{
    const uint64_t start = ek_clock_ns();
    ek_sleep_ns(3000000u);
    const uint64_t spent = ek_clock_ns() - start;
    number(spent >= 3000000u && spent < UINT64_C(60000000000) ? 1u : 0u);
}

static void try_memory(void)
{
    uint8_t *const found = ek_memory(1000000u);
    uint32_t wrong = found == NULL ? 1u : 0u;
    for (uint32_t i = 0; i < 1000000u && found != NULL; ++i) {
        wrong += found[i];
        found[i] = 1u;
    }
    number(wrong == 0u && ek_memory((size_t)0 - 65536u) == NULL ? 1u : 0u);
}

int main(void);
int main(void)
{
    while (next_line() != 0u) {
        const char *const rest = line + 1;
        if (line[0] == 'r') {
            read_file(rest);
        } else if (line[0] == 'w') {
            for (uint32_t i = 0; i < 1000u; ++i) {
                data[i] = (uint8_t)i;
            }
            number(ek_file_write(rest, data, 1000u) ? 1u : 0u);
        } else if (line[0] == 'x') {
            number(ek_file_exists(rest) ? 1u : 0u);
        } else if (line[0] == 'd') {
            number(ek_folder_make(rest) ? 1u : 0u);
        } else if (line[0] == 'e') {
            number(ek_environment(rest, value, sizeof value));
            ek_print(1, " ");
            ek_print(1, value);
        } else if (line[0] == 't') {
            try_time();
        } else {
            try_memory();
        }
        ek_print(1, "\n");
    }
    ek_exit(0);
    return 0;
}

#if defined(__x86_64__)
__asm(".globl _start\n_start: xor %ebp, %ebp\n and $-16, %rsp\n call main\n");
#elif defined(__aarch64__)
__asm(".globl _start\n_start: b main\n");
#else
__asm(".globl _start\n.arm\n.type _start, %function\n_start: bic sp, sp, #7\n blx main\n");
#endif
