/* An allocator that refuses, put before the C library's by LD_PRELOAD: only calls from one range of code are refused. */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static _Atomic uintptr_t range_start, range_end;
/* Calls of that range since the last `refuse`, and which of them are refused: from the first to before the last. */
static _Atomic long calls, first_refused, last_refused, refused;

void refuse(uintptr_t start, uintptr_t end, long first, long count)
{
    range_start = range_end = 0;
    calls = refused = 0;
    first_refused = first;
    last_refused = first + count;
    range_start = start;
    range_end = end;
}

long calls_seen(void) { return calls; }
long calls_refused(void) { return refused; }

static int is_refused(void *caller)
{
    if ((uintptr_t)caller < range_start || (uintptr_t)caller >= range_end)
        return 0;
    long number = ++calls;
    if (number < first_refused || number >= last_refused)
        return 0;
    refused++;
    errno = ENOMEM;
    return 1;
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t size) { return is_refused(CALLER) ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size) { return is_refused(CALLER) ? NULL : __libc_calloc(count, size); }

void *realloc(void *block, size_t size) { return is_refused(CALLER) ? NULL : __libc_realloc(block, size); }

int posix_memalign(void **block, size_t alignment, size_t size)
{
    if (is_refused(CALLER))
        return ENOMEM;
    *block = __libc_memalign(alignment, size);
    return *block ? 0 : ENOMEM;
}
