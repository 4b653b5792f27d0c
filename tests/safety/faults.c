/* Ways to crash, and handlers for it, as C libraries have them. Built and called by test_faults.py. */

#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct sigaction before[2];
static sigjmp_buf way_back;

static struct sigaction *kept(int signal_number) { return &before[signal_number == SIGBUS]; }

static void say(const char *what, int signal_number, siginfo_t *info) {
    char line[128];
    /* A signal that was sent has a sender in the address's place. */
    void *address = info->si_code > 0 ? info->si_addr : NULL;
    int length = snprintf(line, sizeof line, "%s signal=%d code=%d address=%p\n", what, signal_number, info->si_code,
                          address);
    if (write(2, line, (size_t)length) < 0) _exit(99);
}

/* Reports, and puts back what was there: the instruction faults again. */
static void report(int signal_number, siginfo_t *info, void *context) {
    (void)context;
    say("report", signal_number, info);
    sigaction(signal_number, kept(signal_number), NULL);
}

/* Reports, and calls whom it found, or puts the default back. */
static void chain(int signal_number, siginfo_t *info, void *context) {
    say("chain", signal_number, info);
    struct sigaction *next = kept(signal_number);
    if (next->sa_flags & SA_SIGINFO)
        next->sa_sigaction(signal_number, info, context);
    else if (next->sa_handler == SIG_DFL || next->sa_handler == SIG_IGN)
        signal(signal_number, SIG_DFL);
    else
        next->sa_handler(signal_number);
}

/* Makes the page there, as garbage collectors and just-in-time compilers do. */
static volatile long repaired;
static void repair(int signal_number, siginfo_t *info, void *context) {
    (void)signal_number, (void)context;
    uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)(getpagesize() - 1);
    if (mprotect((void *)page, (size_t)getpagesize(), PROT_READ | PROT_WRITE)) _exit(98);
    repaired++;
}

/* Goes back to where it was prepared for, as cysignals does. */
static void go_back(int signal_number, siginfo_t *info, void *context) {
    (void)signal_number, (void)info, (void)context;
    siglongjmp(way_back, 1);
}

/* An old-fashioned one, for one signal: prints, and lets the instruction fault again. */
static void once(int signal_number) {
    char digit = (char)('0' + signal_number % 10);
    if (write(2, "once ", 5) < 0 || write(2, &digit, 1) < 0 || write(2, "\n", 1) < 0) _exit(99);
}

/* Faults itself: where its own signal is blocked meanwhile, that is the end. */
static void fault_again(int signal_number, siginfo_t *info, void *context) {
    (void)context;
    say("fault_again", signal_number, info);
    *(volatile int *)16 = 1;
}

int handle(const char *how, int on_alternate_stack) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_SIGINFO;
    if (!strcmp(how, "report")) action.sa_sigaction = report;
    else if (!strcmp(how, "chain")) action.sa_sigaction = chain;
    else if (!strcmp(how, "repair")) action.sa_sigaction = repair;
    else if (!strcmp(how, "go_back")) action.sa_sigaction = go_back;
    else if (!strcmp(how, "fault_again")) action.sa_sigaction = fault_again;
    else if (!strcmp(how, "once")) action.sa_handler = once, action.sa_flags = SA_RESETHAND;
    else return -1;
    if (on_alternate_stack) {
        stack_t stack = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
        if (!stack.ss_sp || sigaltstack(&stack, NULL)) return -1;
        action.sa_flags |= SA_ONSTACK;
    }
    return sigaction(SIGSEGV, &action, kept(SIGSEGV)) || sigaction(SIGBUS, &action, kept(SIGBUS));
}

/* Puts back what was found. */
int unhandle(void) { return sigaction(SIGSEGV, kept(SIGSEGV), NULL) || sigaction(SIGBUS, kept(SIGBUS), NULL); }

/* Who has the signal now. */
uintptr_t handler_of(int signal_number) {
    struct sigaction now;
    sigaction(signal_number, NULL, &now);
    return (uintptr_t)now.sa_sigaction;
}

void read_address(uintptr_t address) { (void)*(volatile char *)address; }

void jump_to_zero(void) { ((void (*)(void))0)(); }

/* A mapping past the end of its file. */
void read_past_end_of_file(void) {
    FILE *file = tmpfile();
    if (!file || ftruncate(fileno(file), getpagesize())) _exit(97);
    volatile char *bytes = mmap(NULL, (size_t)getpagesize(), PROT_READ, MAP_SHARED, fileno(file), 0);
    if (bytes == MAP_FAILED || ftruncate(fileno(file), 0)) _exit(97);
    (void)bytes[8];
}

__attribute__((noinline)) static int deeper(volatile char *outer) {
    volatile char here[4096];
    here[0] = outer[0];
    return deeper(here) + here[0];
}

int overflow_stack(void) {
    volatile char here[1] = {0};
    return deeper(here);
}

/* Faults that are repaired; how many were. */
long fault_and_repair(long rounds) {
    size_t size = (size_t)getpagesize();
    char *page = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) _exit(97);
    repaired = 0;
    for (long round = 0; round < rounds; round++) {
        if (mprotect(page, size, PROT_NONE)) _exit(97);
        ((volatile char *)page)[round % 64] = 1;
    }
    munmap(page, size);
    return repaired;
}

/* Faults from which there is a way back; how many there were. */
long fault_and_go_back(long rounds) {
    volatile long back = 0;
    for (volatile long round = 0; round < rounds; round++) {
        if (sigsetjmp(way_back, 1) == 0)
            read_address(24);
        else
            back++;
    }
    return back;
}
