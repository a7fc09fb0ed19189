/* A mapped file that shrinks, or whose disk fails, is answered with the signal SIGBUS where it is read, which ends the
 * process without a word. Between enter and leave such a read is a status instead:
 *
 *     dmae_guard guard;
 *     if (sigsetjmp(guard.escape, 0) == 0) {
 *         dmae_guard_enter(&guard, data, size);
 *         ...
 *     } else
 *         status = DMAE_UNREADABLE;
 *     dmae_guard_leave();
 *
 * What the code in between has allocated is lost then. */
#ifndef DMAE_GUARD_H
#define DMAE_GUARD_H

#include <setjmp.h>
#include <stdint.h>

typedef struct dmae_guard {
    sigjmp_buf escape;
    const uint8_t *data;
    uint64_t size;
} dmae_guard;

void dmae_guard_enter(dmae_guard *guard, const uint8_t *data, uint64_t size);
void dmae_guard_leave(void);

#endif
