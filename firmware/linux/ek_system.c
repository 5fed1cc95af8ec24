/* ek_system.c - open(2), read(2), lseek(2), rename(2), mmap(2), clock_gettime(2), proc(5). */
#include "ek_system.h"

#include "ek_linux.h"

/* The same on all architectures here but O_DIRECTORY (uapi/asm-generic/fcntl.h). */
enum {
    AT_FDCWD = -100,
    O_RDONLY = 0,
    O_WRONLY = 1,
    O_CREAT = 00000100,
    O_TRUNC = 00001000,
    O_NONBLOCK = 00004000,
    O_CLOEXEC = 02000000,
#if defined(__x86_64__)
    O_DIRECTORY = 00200000,
#else
    O_DIRECTORY = 00040000,
#endif
    EINTR = 4,
    PATH = 1024
};

static intptr_t open_file(const char *path, int flags)
{
    return ek_syscall(SYS_OPENAT, AT_FDCWD, (intptr_t)path, flags | O_CLOEXEC, 0644);
}

static void close_file(intptr_t file) { (void)ek_syscall(SYS_CLOSE, file, 0, 0, 0); }

/* One read or write, again where a signal came between. */
static intptr_t transfer(intptr_t call, intptr_t file, const void *data, size_t nbytes)
{
    intptr_t done;
    do {
        done = ek_syscall(call, file, (intptr_t)data, (intptr_t)nbytes, 0);
    } while (done == -EINTR);
    return done;
}

static bool transfer_all(intptr_t call, intptr_t file, const uint8_t *data, size_t nbytes)
{
    while (nbytes != 0u) {
        const intptr_t done = transfer(call, file, data, nbytes);
        if (done <= 0) {
            return false;
        }
        data += done;
        nbytes -= (size_t)done;
    }
    return true;
}

/* ---- files */

uint32_t ek_file_read(const char *path, uint8_t *data, uint32_t most)
{
    enum { SEEK_SET = 0, SEEK_END = 2 };
    /* What never ends, or nobody writes to, is opened without waiting and has no size. */
    const intptr_t file = open_file(path, O_RDONLY | O_NONBLOCK);
    uint32_t found = 0u;
    if (file < 0) {
        return 0u;
    }
    const intptr_t size = ek_syscall(SYS_LSEEK, file, 0, SEEK_END, 0);
    if (size > 0 && (uintptr_t)size <= most &&
        ek_syscall(SYS_LSEEK, file, 0, SEEK_SET, 0) == 0 &&
        transfer_all(SYS_READ, file, data, (size_t)size)) {
        found = (uint32_t)size;
    }
    close_file(file);
    return found;
}

/* Append to a path of `PATH` bytes at most; where it ends, or NULL where it does not fit. */
static char *add_text(char *at, const char *end, const char *text)
{
    while (at != NULL && *text != '\0') {
        *at = *text;
        at = at + 1 < end ? at + 1 : NULL;
        ++text;
    }
    return at;
}

static char *add_number(char *at, const char *end, uint32_t number)
{
    char digits[12];
    uint32_t first = sizeof digits - 1u;
    digits[first] = '\0';
    do {
        first -= 1u;
        digits[first] = (char)('0' + number % 10u);
        number /= 10u;
    } while (number != 0u);
    return add_text(at, end, digits + first);
}

bool ek_file_write(const char *path, const uint8_t *data, uint32_t nbytes)
{
    char part[PATH];
    const char *const end = part + sizeof part;
    /* Threads write files of their own, of any process. */
    char *at = add_text(add_text(part, end, path), end, ".");
    at = add_number(at, end, (uint32_t)ek_syscall(SYS_GETTID, 0, 0, 0, 0));
    at = add_text(at, end, ".part");
    if (at == NULL) {
        return false;
    }
    *at = '\0';
    const intptr_t file = open_file(part, O_WRONLY | O_CREAT | O_TRUNC);
    if (file < 0) {
        return false;
    }
    bool good = transfer_all(SYS_WRITE, file, data, nbytes) &&
                ek_syscall(SYS_FSYNC, file, 0, 0, 0) == 0;
    good = ek_syscall(SYS_CLOSE, file, 0, 0, 0) == 0 && good &&
           ek_syscall(SYS_RENAMEAT, AT_FDCWD, (intptr_t)part, AT_FDCWD, (intptr_t)path) == 0;
    if (!good) {
        (void)ek_syscall(SYS_UNLINKAT, AT_FDCWD, (intptr_t)part, 0, 0);
    }
    return good;
}

bool ek_file_exists(const char *path)
{
    enum { F_OK = 0 };
    return ek_syscall(SYS_FACCESSAT, AT_FDCWD, (intptr_t)path, F_OK, 0) == 0;
}

bool ek_folder_make(const char *path)
{
    (void)ek_syscall(SYS_MKDIRAT, AT_FDCWD, (intptr_t)path, 0755, 0);
    const intptr_t folder = open_file(path, O_RDONLY | O_DIRECTORY);
    if (folder < 0) {
        return false;
    }
    close_file(folder);
    return true;
}

/* ---- time */

uint64_t ek_clock_ns(void)
{
    enum { MONOTONIC = 1 };
    uintptr_t time[2] = {0u, 0u};
    (void)ek_syscall(SYS_CLOCK_GETTIME, MONOTONIC, (intptr_t)time, 0, 0);
    return (uint64_t)time[0] * UINT64_C(1000000000) + (uint64_t)time[1];
}

void ek_sleep_ns(uint32_t ns)
{
    const uintptr_t time[2] = {ns / 1000000000u, ns % 1000000000u};
    (void)ek_syscall(SYS_NANOSLEEP, (intptr_t)time, 0, 0, 0);
}

/* ---- memory */

void *ek_memory(size_t nbytes)
{
    enum { READ_WRITE = 3, PRIVATE_ANONYMOUS = 0x22, LAST_ERRNO = 4095 };
    const intptr_t at =
        ek_syscall6(SYS_MMAP, 0, (intptr_t)nbytes, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0);
    return (uintptr_t)at > UINTPTR_MAX - LAST_ERRNO ? NULL : (void *)at;
}

/* ---- environment */

size_t ek_environment(const char *name, char *value, size_t size)
{
    const intptr_t file = open_file("/proc/self/environ", O_RDONLY);
    enum { IN_NAME, IN_VALUE, IN_OTHER, DONE } state = IN_NAME;
    uint8_t block[256];
    intptr_t count = 0;
    size_t known = 0u, taken = 0u;
    while (file >= 0 && state != DONE &&
           (count = transfer(SYS_READ, file, block, sizeof block)) > 0) {
        for (intptr_t i = 0; i < count && state != DONE; ++i) {
            const char c = (char)block[i];
            if (c == '\0') { /* the end of a variable */
                state = state == IN_VALUE ? DONE : IN_NAME;
                known = 0u;
            } else if (state == IN_NAME) {
                const bool same = c == (name[known] == '\0' ? '=' : name[known]);
                state = !same ? IN_OTHER : name[known] == '\0' ? IN_VALUE : IN_NAME;
                known += 1u;
            } else if (state == IN_VALUE) {
                if (taken < size) {
                    value[taken] = c;
                }
                taken += 1u;
            }
        }
    }
    if (file >= 0) {
        close_file(file);
    }
    value[taken < size ? taken : 0u] = '\0';
    return taken;
}

void ek_print(int descriptor, const char *text)
{
    size_t nbytes = 0u;
    while (text[nbytes] != '\0') {
        nbytes += 1u;
    }
    (void)transfer_all(SYS_WRITE, descriptor, (const uint8_t *)text, nbytes);
}
