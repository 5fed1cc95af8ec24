/* Preloaded into a shell of this machine: programs for AArch64 start in qemu-aarch64, as they do
 * where the kernel knows of it (binfmt_misc). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MACHINE = 18, AARCH64 = 183, MOST = 64 };
typedef int execve_t(const char *path, char *const arguments[], char *const environment[]);
typedef int execvp_t(const char *file, char *const arguments[]);

static int is_foreign(const char *path) {
  unsigned char head[MACHINE + 1] = {0};
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t count = read(file, head, sizeof head);
  close(file);
  return count == (ssize_t)sizeof head && memcmp(head, "\177ELF", 4) == 0 &&
         head[MACHINE] == AARCH64;
}

int execve(const char *path, char *const arguments[], char *const environment[]) {
  execve_t *real = (execve_t *)dlsym(RTLD_NEXT, "execve");
  if (!is_foreign(path)) return real(path, arguments, environment);
  if (access(path, X_OK) != 0) return -1;
  char *longer[MOST] = {"qemu-aarch64", (char *)path};
  for (int i = 1; arguments[0] != NULL && arguments[i] != NULL; i++) {
    if (i + 2 >= MOST) {
      errno = E2BIG;
      return -1;
    }
    longer[i + 1] = arguments[i];
  }
  return real(getenv("QEMU_AARCH64"), longer, environment);
}

int execvp(const char *file, char *const arguments[]) {
  if (strchr(file, '/') != NULL) return execve(file, arguments, environ);
  execvp_t *real = (execvp_t *)dlsym(RTLD_NEXT, "execvp");
  return real(file, arguments);
}
