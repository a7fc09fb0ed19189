/* The handler of SIGBUS: back to the guard of the thread that read, or on to whoever handled the signal before. */
#define _XOPEN_SOURCE 700
#include "guard.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "kernel.h"

/* Static room, so that the handler's look at it allocates nothing. */
static _Thread_local dmae_guard *present __attribute__((tls_model("initial-exec")));
static struct sigaction before;
static int32_t installing;

void dmae_guard_enter(dmae_guard *guard, const uint8_t *data, uint64_t size) {
    guard->data = data;
    guard->size = size;
    present = guard;
}

void dmae_guard_leave(void) {
    present = NULL;
}

/* Whether an address lies on a page that the guarded bytes touch. */
static int is_guarded(const dmae_guard *guard, const void *address) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)address & ~(page - 1);
    return at >= ((uintptr_t)guard->data & ~(page - 1)) && at < (uintptr_t)guard->data + guard->size;
}

static void on_bus_error(int signal, siginfo_t *info, void *context) {
    dmae_guard *guard = present;
    if (guard && info->si_code > 0 && is_guarded(guard, info->si_addr)) {
        present = NULL;
        siglongjmp(guard->escape, 1);
    }
    if (before.sa_flags & SA_SIGINFO)
        before.sa_sigaction(signal, info, context);
    else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
        before.sa_handler(signal);
    else
        sigaction(signal, &before, NULL); /* the read is tried again, and ends the process as it would have */
}

int32_t dmae_guard_install(void) {
    struct sigaction now, ours;
    int32_t free = 0, status = DMAE_OK;
    if (!__atomic_compare_exchange_n(&installing, &free, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return DMAE_OK;
    memset(&ours, 0, sizeof ours);
    ours.sa_sigaction = on_bus_error;
    ours.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK; /* not deferred: nobody returns from a jump */
    if (sigaction(SIGBUS, NULL, &now) != 0)
        status = DMAE_BAD_ARGUMENT;
    else if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_bus_error) {
        before = now;
        status = sigaction(SIGBUS, &ours, NULL) == 0 ? DMAE_OK : DMAE_BAD_ARGUMENT;
    }
    __atomic_store_n(&installing, 0, __ATOMIC_RELEASE);
    return status;
}
