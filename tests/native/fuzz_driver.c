/* Runs the fuzz body where there is no libFuzzer: over a folder's files as they are, then over mutations of them.
 *
 *     fuzz_driver CORPUS RUNS [SEED]
 *
 * The same seed makes the same inputs. An input about to run is kept in `last` so that a crash can be looked at: it is
 * written to crash-input by the sanitizers' death callback. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stdint.h>

enum { MOST_SEEDS = 512, ROOM = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length);
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

typedef struct sample {
    uint8_t *data;
    size_t size;
} sample;

static sample seeds[MOST_SEEDS];
static size_t seed_count;
static uint8_t last[ROOM];
static size_t last_size;
static uint64_t state;

static uint64_t draw(void) {
    state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t below(size_t n) {
    return n ? (size_t)(draw() % n) : 0;
}

static void keep_input(void) {
    FILE *file = fopen("crash-input", "wb");
    if (file) {
        fwrite(last, 1, last_size, file);
        fclose(file);
    }
}

static void load_folder(const char *folder) {
    DIR *dir = opendir(folder);
    if (!dir) {
        perror(folder);
        exit(2);
    }
    for (struct dirent *entry; (entry = readdir(dir)) && seed_count < MOST_SEEDS;) {
        char path[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        FILE *file = fopen(path, "rb");
        if (!file)
            continue;
        sample *s = &seeds[seed_count];
        s->data = malloc(ROOM);
        s->size = fread(s->data, 1, ROOM, file);
        s->data = realloc(s->data, s->size ? s->size : 1);
        seed_count += s->size > 0;
        fclose(file);
    }
    closedir(dir);
}

/* Names come in the folder's order: sort, so that a seed of the generator means the same everywhere. */
static int by_content(const void *a, const void *b) {
    const sample *x = a, *y = b;
    const int order = memcmp(x->data, y->data, x->size < y->size ? x->size : y->size);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

static void insert(size_t at, const uint8_t *from, size_t count) {
    if (last_size + count > ROOM || at > last_size)
        return;
    memmove(last + at + count, last + at, last_size - at);
    memcpy(last + at, from, count);
    last_size += count;
}

static void erase(size_t at, size_t count) {
    if (at >= last_size)
        return;
    count = count < last_size - at ? count : last_size - at;
    memmove(last + at, last + at + count, last_size - at - count);
    last_size -= count;
}

static size_t find_marker(size_t from) {
    for (size_t i = from; i + 1 < last_size; i++)
        if (last[i] == 0xFF && last[i + 1] != 0)
            return i;
    return last_size;
}

static void mutate(void) {
    static const uint16_t interesting[] = {0,  1,   2,   7,   8,   9,     15,    16,    63,
                                           64, 127, 128, 255, 256, 32767, 32768, 65500, 65535};
    static const uint8_t markers[] = {0xC0, 0xC1, 0xC2, 0xC4, 0xC9, 0xCA, 0xCC, 0xD0, 0xD1,
                                      0xD3, 0xD7, 0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xEE};
    /* half of the time near the start, where headers are */
    const size_t at = below(draw() & 1 ? last_size : last_size < 700 ? last_size : 700);
    if (at >= last_size)
        return;
    switch (below(11)) {
    case 0:
        last[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        last[at] = (uint8_t)draw();
        break;
    case 2: {
        const uint16_t value = interesting[below(sizeof interesting / sizeof *interesting)];
        const int big = draw() & 1;
        if (at + 1 < last_size) {
            last[at] = (uint8_t)(big ? value >> 8 : value);
            last[at + 1] = (uint8_t)(big ? value : value >> 8);
        }
        break;
    }
    case 3:
        last_size = at;
        break;
    case 4:
        erase(at, 1 + below(16));
        break;
    case 5: {
        uint8_t copy[64];
        const size_t count = 1 + below(last_size - at < sizeof copy ? last_size - at : sizeof copy);
        memcpy(copy, last + at, count);
        insert(below(last_size), copy, count);
        break;
    }
    case 6: {
        const uint8_t marker[2] = {0xFF, markers[below(sizeof markers)]};
        insert(at, marker, 2);
        break;
    }
    case 7: { /* a marker removed, doubled or renamed */
        const size_t found = find_marker(at);
        if (found + 1 >= last_size)
            break;
        const uint8_t marker[2] = {0xFF, last[found + 1]};
        switch (below(3)) {
        case 0:
            erase(found, 2);
            break;
        case 1:
            insert(found, marker, 2);
            break;
        default:
            last[found + 1] = markers[below(sizeof markers)];
        }
        break;
    }
    case 8: {
        const sample *other = &seeds[below(seed_count)];
        const size_t from = below(other->size), count = below(other->size - from < 256 ? other->size - from : 256);
        insert(at, other->data + from, count);
        break;
    }
    case 9:
        memset(last + at, draw() & 1 ? 0xFF : 0, 1 + below(last_size - at < 32 ? last_size - at : 32));
        break;
    default:
        last[below(last_size < 16 ? last_size : 16)] = (uint8_t)draw(); /* the body's settings */
    }
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: %s CORPUS RUNS [SEED]\n", arguments[0]);
        return 2;
    }
    load_folder(arguments[1]);
    if (!seed_count) {
        fprintf(stderr, "%s: no inputs\n", arguments[1]);
        return 2;
    }
    qsort(seeds, seed_count, sizeof *seeds, by_content);
    const unsigned long long runs = strtoull(arguments[2], NULL, 10);
    state = count > 3 ? strtoull(arguments[3], NULL, 10) : 1;
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(keep_input);
    for (unsigned long long run = 0; run < runs + seed_count; run++) {
        const sample *seed = &seeds[run < seed_count ? run : below(seed_count)];
        memcpy(last, seed->data, seed->size);
        last_size = seed->size;
        for (size_t n = run < seed_count ? 0 : 1 + below(6); n > 0; n--)
            mutate();
        LLVMFuzzerTestOneInput(last, last_size);
    }
    printf("%llu inputs from %zu seeds: nothing found\n", runs, seed_count);
    return 0;
}
