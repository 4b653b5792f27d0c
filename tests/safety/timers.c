/* A program that takes every number of a kernel timer as soon as another timer of its process has given it up, and sees
 * whether somebody then sets or deletes the timer that it got.
 *
 * Linux counts timers on and gives a number again after 2^31 of them only, but whoever restores a process may ask for one
 * (PR_TIMER_CREATE_RESTORE_IDS, kernel/time/posix-timers.c). The next timer of anybody gets the number behind it.
 *
 * Put before the C library by LD_PRELOAD, it also hides the CPU clocks of other threads when told to, as a sandbox might. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define RESTORE_IDS 77 /* PR_TIMER_CREATE_RESTORE_IDS */
#define FIRST 2        /* 0 and 1 are for ourselves */
#define NUMBERS 256
/* So long a timer is kept: many intervals of the profiler. */
#define KEPT_NS 2000000

static _Atomic long taken, disturbed, over;
static pthread_t taker;

static int create(int number, const struct sigevent *event)
{
    int got = number;
    prctl(RESTORE_IDS, 1, 0, 0, 0);
    long result = syscall(SYS_timer_create, CLOCK_MONOTONIC, event, &got);
    prctl(RESTORE_IDS, 0, 0, 0, 0);
    return result == 0;
}

static int exists(int number, int *is_set)
{
    struct itimerspec left;
    if (syscall(SYS_timer_gettime, number, &left) != 0)
        return 0;
    *is_set = left.it_value.tv_sec != 0 || left.it_value.tv_nsec != 0;
    return 1;
}

static void delete(int number) { syscall(SYS_timer_delete, number); }

static long now_ns(void)
{
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

static void *take(void *unused)
{
    /* 0 is nobody's, else when we got it. */
    static long since_ns[NUMBERS];
    static char was_theirs[NUMBERS];
    sigset_t all, fired;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    sigemptyset(&fired);
    sigaddset(&fired, SIGRTMIN + 4);
    /* One that somebody sets would be over before it is looked at, so each leaves a signal. */
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGRTMIN + 4;
    event.sigev_notify_thread_id = syscall(SYS_gettid);
    for (int round = 0, ending = 0; !ending; round++) {
        ending = over;
        /* Numbers stay small: the next that anybody gets is 2, or the first behind it that is free. */
        if (round % 16 == 0 && create(1, &event))
            delete(1);
        long now = now_ns();
        for (int number = FIRST; number < NUMBERS; number++) {
            int is_set = 0, is_there = exists(number, &is_set);
            if (since_ns[number] != 0) {
                disturbed += !is_there || is_set;
                if (is_there && !ending && now - since_ns[number] < KEPT_NS)
                    continue;
                delete(number);
                since_ns[number] = 0;
            } else if (is_there) {
                was_theirs[number] = 1;
            } else if (was_theirs[number] && !ending) {
                was_theirs[number] = 0;
                if (create(number, &event)) {
                    since_ns[number] = now;
                    taken++;
                }
            }
        }
        struct timespec at_once = {0, 0};
        while (sigtimedwait(&fired, NULL, &at_once) > 0)
            disturbed++;
    }
    return unused;
}

/* Whether this kernel lets one ask for a number. */
int begin(void)
{
    struct sigevent none;
    memset(&none, 0, sizeof none);
    none.sigev_notify = SIGEV_NONE;
    if (prctl(RESTORE_IDS, 0, 0, 0, 0) != 0 || !create(0, &none) || !create(1, &none))
        return 0;
    delete(1);
    return pthread_create(&taker, NULL, take, NULL) == 0;
}

/* How many numbers were taken from others so far. */
long numbers_taken(void) { return taken; }

/* How often one of our timers was set or deleted by others. All are gone afterwards. */
long end(void)
{
    int is_set = 1;
    over = 1;
    pthread_join(taker, NULL);
    disturbed += !exists(0, &is_set) || is_set;
    delete(0);
    return disturbed;
}

/* Uses the processor for so long. */
void compute(long time_ns)
{
    for (long until = now_ns() + time_ns; now_ns() < until;)
        for (volatile int step = 0; step < 2000; step++)
            ;
}

static _Atomic int clocks_are_hidden;

void hide_clocks(int hidden) { clocks_are_hidden = hidden; }

int clock_gettime(clockid_t clock, struct timespec *time)
{
    static int (*_Atomic theirs)(clockid_t, struct timespec *);
    /* A clock of one thread, by its number (include/linux/posix-timers_types.h). */
    if (clocks_are_hidden && clock < 0 && (clock & 7) == 6) {
        errno = EINVAL;
        return -1;
    }
    if (theirs == NULL)
        theirs = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    return theirs(clock, time);
}

/* Threads that come to Python now and then and compute in between, without a thread state. */
#define VISITORS 2
static pthread_t visitors[VISITORS];
static _Atomic int visits_are_over;

static void *visit(void *callback)
{
    while (!visits_are_over) {
        ((void (*)(void))callback)();
        compute(3000000);
    }
    return NULL;
}

void start_visits(void (*callback)(void))
{
    for (int index = 0; index < VISITORS; index++)
        pthread_create(&visitors[index], NULL, visit, (void *)callback);
}

void finish_visits(void)
{
    visits_are_over = 1;
    for (int index = 0; index < VISITORS; index++)
        pthread_join(visitors[index], NULL);
}
