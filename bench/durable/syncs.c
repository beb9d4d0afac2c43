/* Preloaded into a process: counts its fsyncs in the file BENCH_SYNCS, and makes each of them
   BENCH_SYNC_DELAY microseconds slower. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef int (*sync_function)(int);

static sync_function real_fsync, real_fdatasync;
static _Atomic unsigned long *count;
static struct timespec delay;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("BENCH_SYNCS");
    const char *microseconds = getenv("BENCH_SYNC_DELAY");
    real_fsync = (sync_function)dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (sync_function)dlsym(RTLD_NEXT, "fdatasync");
    if (microseconds)
        delay.tv_nsec = atol(microseconds) * 1000;
    if (!path)
        return;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page != MAP_FAILED)
        count = page;
    close(file);
}

static int counted(sync_function real, int file)
{
    if (count)
        atomic_fetch_add(count, 1);
    if (delay.tv_nsec)
        nanosleep(&delay, NULL);
    return real(file);
}

int fsync(int file) { return counted(real_fsync, file); }
int fdatasync(int file) { return counted(real_fdatasync, file); }
