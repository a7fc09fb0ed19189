/* Memory of one thread: grows to what its largest crop needed, is reused by every call, and goes when the thread ends.
 */
#include <pthread.h>
#include <stdlib.h>

#include "internal.h"

struct dmae_scratch {
    void *slot[DMAE_SLOT_COUNT];
    size_t capacity[DMAE_SLOT_COUNT];
};

static pthread_key_t cleanup_key;
static int cleanup_ready;
static pthread_once_t cleanup_once = PTHREAD_ONCE_INIT;
static _Thread_local dmae_scratch *own;

static void release(void *pointer) {
    dmae_scratch *s = pointer;
    for (int i = 0; i < DMAE_SLOT_COUNT; i++)
        free(s->slot[i]);
    free(s);
}

static void create_key(void) {
    cleanup_ready = pthread_key_create(&cleanup_key, release) == 0;
}

dmae_scratch *dmae_thread_scratch(void) {
    if (own)
        return own;
    pthread_once(&cleanup_once, create_key);
    if (!cleanup_ready)
        return NULL;
    dmae_scratch *s = calloc(1, sizeof *s);
    if (s && pthread_setspecific(cleanup_key, s) != 0) {
        free(s);
        s = NULL;
    }
    return own = s;
}

void *dmae_scratch_get(dmae_scratch *s, int slot, size_t bytes) {
    if (bytes > s->capacity[slot]) {
        /* A quarter more than asked: crops vary, and growing by a row each time would allocate for ever. */
        const size_t capacity = (bytes + bytes / 4 + 63) & ~(size_t)63;
        if (capacity < bytes || capacity + DMAE_SLACK < capacity)
            return NULL;
        free(s->slot[slot]);
        s->slot[slot] = aligned_alloc(64, capacity + DMAE_SLACK);
        s->capacity[slot] = s->slot[slot] ? capacity : 0;
    }
    return s->slot[slot];
}
