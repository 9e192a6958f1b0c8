/* A disk that fails: the n-th file made, written, synced or renamed below a folder, and then all or
   none after it.
   Loaded before the C library; `fail_at` is set by whoever tries, `fail_calls` counts. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

long fail_at = 0;      /* which call fails, from 1 on; 0: none */
long fail_calls = 0;   /* how many there were */
int fail_errno = ENOSPC;
int fail_stays = 1;    /* whether all that follow fail too */
char fail_under[4096] = "";

static int fails(const char *path) {
    if (!fail_under[0] || !path || strncmp(path, fail_under, strlen(fail_under))) return 0;
    long call = __atomic_add_fetch(&fail_calls, 1, __ATOMIC_SEQ_CST);
    if (!fail_at || call < fail_at || (call > fail_at && !fail_stays)) return 0;
    errno = fail_errno;
    return 1;
}

static int fails_on(int descriptor) {
    char link[64], path[4096];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0) return 0;
    path[length] = 0;
    return fails(path);
}

__attribute__((constructor)) static void begin(void) {
    char *under = getenv("FAIL_UNDER"), *at = getenv("FAIL_AT"), *code = getenv("FAIL_ERRNO");
    if (under) strncpy(fail_under, under, sizeof fail_under - 1);
    if (at) fail_at = atol(at);
    if (code) fail_errno = atoi(code), fail_stays = fail_errno == ENOSPC;
}

#define NEXT(name) ((typeof(&name)) dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) {
    return fails_on(fd) ? -1 : NEXT(write)(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return fails_on(fd) ? -1 : NEXT(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    return fails_on(fd) ? -1 : NEXT(pwrite64)(fd, data, size, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    return fails_on(fd) ? -1 : NEXT(writev)(fd, parts, count);
}
size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
    return fails_on(fileno(file)) ? 0 : NEXT(fwrite)(data, size, count, file);
}
int fsync(int fd) { return fails_on(fd) ? -1 : NEXT(fsync)(fd); }
int rename(const char *from, const char *to) { return fails(to) ? -1 : NEXT(rename)(from, to); }
int renameat(int at, const char *from, int there, const char *to) {
    return fails(to) ? -1 : NEXT(renameat)(at, from, there, to);
}
int mkdir(const char *path, mode_t mode) { return fails(path) ? -1 : NEXT(mkdir)(path, mode); }

#define OPEN(name, declared, passed)                                   \
    int name declared {                                                \
        mode_t mode = 0;                                               \
        if (flags & O_CREAT) {                                         \
            va_list more;                                              \
            va_start(more, flags);                                     \
            mode = va_arg(more, mode_t);                               \
            va_end(more);                                              \
            if (access(path, F_OK) && fails(path)) return -1;          \
        }                                                              \
        return NEXT(name) passed;                                      \
    }
OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode))
OPEN(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode))
