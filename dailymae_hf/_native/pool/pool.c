/* The pool's queue: one lock, taken once per sample, which takes a thousand times as long to decode. */
#define _POSIX_C_SOURCE 200809L
#include "pool/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "pool/sample.h"

enum { STACK_BYTES = 1 << 20 };

struct dmae_pool {
    pthread_mutex_t lock;
    pthread_cond_t work, finished;
    dmae_batch *first, *last; /* batches with samples that no thread has begun */
    int closing;
    pid_t process; /* a forked child has none of the threads */
    int32_t threads;
    pthread_t thread[];
};

/* Takes the front batch from the queue: its last sample is given out, or it was cancelled. */
static void unlink_batch(dmae_pool *pool, dmae_batch *batch) {
    dmae_batch **link = &pool->first, *before = NULL;
    while (*link && *link != batch) {
        before = *link;
        link = &before->after;
    }
    if (!*link)
        return;
    *link = batch->after;
    if (pool->last == batch)
        pool->last = before;
}

static void decode(dmae_batch *batch, uint32_t slot) {
    const uint64_t row = batch->rows[slot];
    const dmae_sample sample = dmae_sample_of(&batch->table, row);
    const size_t bytes = (size_t)3 * batch->out_height * batch->out_width;
    dmae_decode_sample(&batch->params, sample.data, sample.size, sample.mode, sample.height, sample.width, row,
                       batch->dst + slot * bytes, batch->out_height, batch->out_width);
}

static void *run(void *argument) {
    dmae_pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->closing && !pool->first)
            pthread_cond_wait(&pool->work, &pool->lock);
        if (pool->closing)
            break;
        dmae_batch *batch = pool->first;
        const uint32_t slot = batch->given++;
        if (batch->given == batch->count)
            unlink_batch(pool, batch);
        pthread_mutex_unlock(&pool->lock);
        decode(batch, slot);
        pthread_mutex_lock(&pool->lock);
        if (++batch->done == batch->count)
            pthread_cond_broadcast(&pool->finished);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Signals are for the program's own threads: here are only those that an instruction raises. */
static int start(dmae_pool *pool) {
    pthread_attr_t attributes;
    sigset_t all, old;
    if (pthread_attr_init(&attributes) != 0)
        return 0;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const int started = pthread_create(&pool->thread[pool->threads], &attributes, run, pool) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    pool->threads += started;
    return started;
}

dmae_pool *dmae_pool_open(int32_t threads) {
    if (threads < 1)
        return NULL;
    dmae_pool *pool = calloc(1, sizeof *pool + (size_t)threads * sizeof *pool->thread);
    if (!pool)
        return NULL;
    pool->process = getpid();
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->finished, NULL);
    while (pool->threads < threads)
        if (!start(pool)) {
            dmae_pool_close(pool);
            return NULL;
        }
    return pool;
}

void dmae_pool_close(dmae_pool *pool) {
    if (pool->process != getpid())
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = 1;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (int32_t i = 0; i < pool->threads; i++)
        pthread_join(pool->thread[i], NULL);
    pthread_cond_destroy(&pool->finished);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void dmae_pool_submit(dmae_pool *pool, dmae_batch *batch) {
    pthread_mutex_lock(&pool->lock);
    batch->given = batch->done = 0;
    batch->after = NULL;
    if (batch->count > 0) {
        if (pool->first)
            pool->last->after = batch;
        else
            pool->first = batch;
        pool->last = batch;
        pthread_cond_broadcast(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
}

void dmae_pool_wait(dmae_pool *pool, dmae_batch *batch) {
    pthread_mutex_lock(&pool->lock);
    while (batch->done < batch->count)
        pthread_cond_wait(&pool->finished, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

void dmae_pool_cancel(dmae_pool *pool, dmae_batch *batch) {
    pthread_mutex_lock(&pool->lock);
    unlink_batch(pool, batch);
    batch->count = batch->given;
    while (batch->done < batch->count)
        pthread_cond_wait(&pool->finished, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}
