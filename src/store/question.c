/* SPDX-License-Identifier: Apache-2.0 */
#include "store/question.h"

#include <stddef.h>
#include <stdlib.h>

/* One piece; all of them in a list. */
struct question_memory {
    struct question_memory *next;
    max_align_t bytes[];
};

void *question_alloc(struct question *question, size_t size)
{
    struct question_memory *memory = malloc(sizeof *memory + size);
    if (memory == NULL)
        return NULL;
    memory->next = question->memory;
    question->memory = memory;
    return memory->bytes;
}

bool question_copy(struct question *question, struct slice text, struct slice *copy)
{
    char *base = question_alloc(question, text.len + 1);
    if (base == NULL)
        return false;
    if (text.len > 0)
        memcpy(base, text.base, text.len);
    base[text.len] = '\0';
    *copy = slice_make(base, text.len);
    return true;
}

void question_fini(struct question *question)
{
    while (question->memory != NULL) {
        struct question_memory *memory = question->memory;
        question->memory = memory->next;
        free(memory);
    }
}
