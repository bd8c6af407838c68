/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of taking back share: a world before and after a batch, and memory that fails on request
 * (failing_memory.h). One thread.
 */
#ifndef DOORBUSTER_TESTS_UNIT_ROLLBACK_KIT_H
#define DOORBUSTER_TESTS_UNIT_ROLLBACK_KIT_H

#include "failing_memory.h"
#include "world_kit.h"

struct rollback_kit {
    struct world world;
    struct strbuf before;
    struct strbuf after;
};

void rollback_kit_make(struct rollback_kit *kit);
void rollback_kit_drop(struct rollback_kit *kit);

/* A new batch; remembers the world as it is. */
void rollback_begin(struct rollback_kit *kit);

/* Takes the batch back; the test fails unless the world is what it was before. */
void rollback_undo(struct rollback_kit *kit);

/* Accepts the batch, which must not change the world any more. */
void rollback_accept(struct rollback_kit *kit);

#endif
