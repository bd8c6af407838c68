/* SPDX-License-Identifier: Apache-2.0 */
#include "rollback_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

void rollback_kit_make(struct rollback_kit *kit)
{
    world_init(&kit->world, &world_kit_hash_key);
    strbuf_init_heap(&kit->before, 1 << 24);
    strbuf_init_heap(&kit->after, 1 << 24);
}

void rollback_kit_drop(struct rollback_kit *kit)
{
    (void)stop_failing();
    world_fini(&kit->world);
    strbuf_fini(&kit->before);
    strbuf_fini(&kit->after);
}

void rollback_begin(struct rollback_kit *kit)
{
    world_begin(&kit->world);
    world_dump(&kit->world, &kit->before);
}

void rollback_undo(struct rollback_kit *kit)
{
    world_rollback(&kit->world);
    assert_int_equal(kit->world.change_count, 0);
    world_check_next_edge(&kit->world);
    world_dump(&kit->world, &kit->after);
    if (slice_eq(strbuf_slice(&kit->before), strbuf_slice(&kit->after)))
        return;
    fail_msg("the world after a rollback is another one.\nbefore:\n%.*s\nafter:\n%.*s",
        SLICE_ARGS(strbuf_slice(&kit->before)), SLICE_ARGS(strbuf_slice(&kit->after)));
}

void rollback_accept(struct rollback_kit *kit)
{
    world_dump(&kit->world, &kit->before);
    world_accept(&kit->world);
    world_check_next_edge(&kit->world);
    world_dump(&kit->world, &kit->after);
    assert_true(slice_eq(strbuf_slice(&kit->before), strbuf_slice(&kit->after)));
}
