/* A library for LD_PRELOAD: makes chosen calls fail with an errno, moves the wall clock, and lets locks be granted to
 * everybody. What it does is read from a file that all processes of a round share (FAULTS_CONTROL); fault_shim.py writes
 * it. Without the file, every call passes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile int64_t clock_offset_ns;
    volatile int64_t left;  /* calls that still fail */
    volatile int32_t error; /* the errno */
    volatile uint32_t calls;
    volatile uint32_t every; /* one call in so many fails */
    volatile uint32_t count;
    volatile uint32_t torn;       /* a failing write first writes half */
    volatile uint32_t open_locks; /* every lock is granted */
    volatile char path[256];      /* part of the path of the file */
};

enum { OPEN = 1, CREATE = 2, READ = 4, WRITE = 8, SYNC = 16, LINK = 32, RENAME = 64, UNLINK = 128, MKDIR = 256, STAT = 512, FORK = 1024 };

static struct control *control;

__attribute__((constructor)) static void map_control(void) {
    const char *name = getenv("FAULTS_CONTROL");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    control = at == MAP_FAILED ? NULL : at;
    close(fd);
}

static int fails(uint32_t call, const char *path) {
    if (!control || !(control->calls & call) || control->left <= 0) return 0;
    if (control->path[0] && (!path || !strstr(path, (const char *)control->path))) return 0;
    if (control->every > 1 && __atomic_fetch_add(&control->count, 1, __ATOMIC_SEQ_CST) % control->every) return 0;
    if (__atomic_fetch_sub(&control->left, 1, __ATOMIC_SEQ_CST) <= 0) return 0;
    errno = control->error;
    return 1;
}

static int fails_fd(uint32_t call, int fd) {
    char link[64], path[PATH_MAX];
    if (!control || !(control->calls & call) || control->left <= 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    path[size < 0 ? 0 : size] = 0;
    return fails(call, path);
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define OPENING(flags) ((flags) & (O_CREAT | O_WRONLY | O_RDWR) ? CREATE : OPEN)
#define MODE(last) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { \
        va_list more; \
        va_start(more, last); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }

int open(const char *path, int flags, ...) {
    MODE(flags);
    REAL(open);
    return fails(OPENING(flags), path) ? -1 : real(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE(flags);
    REAL(open64);
    return fails(OPENING(flags), path) ? -1 : real(path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
    MODE(flags);
    REAL(openat);
    return fails(OPENING(flags), path) ? -1 : real(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
    MODE(flags);
    REAL(openat64);
    return fails(OPENING(flags), path) ? -1 : real(folder, path, flags, mode);
}

ssize_t read(int fd, void *data, size_t size) {
    REAL(read);
    return fails_fd(READ, fd) ? -1 : real(fd, data, size);
}
ssize_t pread64(int fd, void *data, size_t size, off64_t at) {
    REAL(pread64);
    return fails_fd(READ, fd) ? -1 : real(fd, data, size, at);
}
ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    if (!fails_fd(WRITE, fd)) return real(fd, data, size);
    if (control->torn && size > 1 && control->left % 2) return real(fd, data, size / 2);
    errno = control->error;
    return -1;
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    return fails_fd(WRITE, fd) ? -1 : real(fd, data, size, at);
}
int fsync(int fd) {
    REAL(fsync);
    return fails_fd(SYNC, fd) ? -1 : real(fd);
}
int fdatasync(int fd) {
    REAL(fdatasync);
    return fails_fd(SYNC, fd) ? -1 : real(fd);
}
int link(const char *from, const char *to) {
    REAL(link);
    return fails(LINK, to) ? -1 : real(from, to);
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
    REAL(linkat);
    return fails(LINK, to) ? -1 : real(a, from, b, to, flags);
}
int rename(const char *from, const char *to) {
    REAL(rename);
    return fails(RENAME, to) ? -1 : real(from, to);
}
int unlink(const char *path) {
    REAL(unlink);
    return fails(UNLINK, path) ? -1 : real(path);
}
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return fails(MKDIR, path) ? -1 : real(path, mode);
}
int stat64(const char *path, struct stat64 *found) {
    REAL(stat64);
    return fails(STAT, path) ? -1 : real(path, found);
}
int fstatat64(int folder, const char *path, struct stat64 *found, int flags) {
    REAL(fstatat64);
    return fails(STAT, path) ? -1 : real(folder, path, found, flags);
}
pid_t fork(void) {
    REAL(fork);
    return fails(FORK, "") ? -1 : real();
}
pid_t vfork(void) { /* a copy of memory instead of shared memory: a library cannot pass a vfork on */
    return fork();
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *how,
                char *const words[], char *const environment[]) {
    REAL(posix_spawn);
    return fails(FORK, "") ? control->error : real(pid, path, actions, how, words, environment);
}

int flock(int fd, int operation) {
    REAL(flock);
    return control && control->open_locks ? 0 : real(fd, operation);
}
static int granted(int command, void *argument) {
    if (!control || !control->open_locks) return 0;
    if (command == F_GETLK) ((struct flock *)argument)->l_type = F_UNLCK;
    return command == F_SETLK || command == F_SETLKW || command == F_GETLK;
}
int fcntl(int fd, int command, ...) {
    REAL(fcntl);
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *);
    va_end(more);
    return granted(command, argument) ? 0 : real(fd, command, argument);
}
int fcntl64(int fd, int command, ...) {
    REAL(fcntl64);
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *);
    va_end(more);
    return granted(command, argument) ? 0 : real(fd, command, argument);
}

static int64_t offset(clockid_t clock) {
    return control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) ? control->clock_offset_ns : 0;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int failed = real(clock, now);
    int64_t moved = failed ? 0 : offset(clock);
    if (moved) {
        int64_t ns = now->tv_sec * 1000000000LL + now->tv_nsec + moved;
        now->tv_sec = ns / 1000000000LL;
        now->tv_nsec = ns % 1000000000LL;
    }
    return failed;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec spec;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &spec)) return -1;
    now->tv_sec = spec.tv_sec;
    now->tv_usec = spec.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *out) {
    struct timespec spec;
    if (clock_gettime(CLOCK_REALTIME, &spec)) return -1;
    if (out) *out = spec.tv_sec;
    return spec.tv_sec;
}
