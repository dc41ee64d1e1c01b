/* Let Python see a clock that is CLOCK_SHIFT seconds ahead, as on a host whose clock is wrong.

   Preloaded (LD_PRELOAD). Only what Python itself asks is shifted: a library that waits until a time
   of the kernel's clock would wait for as much longer. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int asked_by_python(void *caller) {
    Dl_info from;
    return dladdr(caller, &from) && from.dli_fname && strstr(from.dli_fname, "python") &&
           !strstr(from.dli_fname, "site-packages");
}

static time_t shift(void) {
    const char *seconds = getenv("CLOCK_SHIFT");
    return seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME && asked_by_python(__builtin_return_address(0)))
        now->tv_sec += shift();
    return failed;
}

time_t time(time_t *where) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    if (asked_by_python(__builtin_return_address(0)))
        now.tv_sec += shift();
    if (where)
        *where = now.tv_sec;
    return now.tv_sec;
}
