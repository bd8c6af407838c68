/* SPDX-License-Identifier: Apache-2.0 */
#include "service/intake_text.h"

#include "base/clock.h"
#include "core/decimal.h"
#include "store/store.h"

_Static_assert((int)STORE_SECRET_BYTES == (int)UUID_SECRET_BYTES, "the store's secret makes keys for UUIDs");

static const struct slice status_names[] = {
    SLICE_INIT("QUEUED"), SLICE_INIT("EXECUTED"), SLICE_INIT("CANCELLED")};

void intake_names_init(struct intake_names *names, const unsigned char *secret)
{
    uuid_key_init(&names->orders, secret, SLICE("intake order"));
    uuid_key_init(&names->accounts, secret, SLICE("account"));
}

struct slice intake_status_name(enum intake_status status)
{
    return status_names[status];
}

bool intake_status_from_name(struct slice name, enum intake_status *status)
{
    for (int i = INTAKE_QUEUED; i <= INTAKE_CANCELLED; i++) {
        if (slice_eq(name, status_names[i])) {
            *status = (enum intake_status)i;
            return true;
        }
    }
    return false;
}

void intake_put_uuid(struct strbuf *text, const struct uuid_key *key, int64_t number)
{
    char uuid[ID_UUID_LEN];
    uuid_from_number(key, number, uuid);
    strbuf_put_char(text, '"');
    strbuf_put(text, slice_make(uuid, ID_UUID_LEN));
    strbuf_put_char(text, '"');
}

/* `member` is the name as it stands there: ,"price": */
static void put_decimal(struct strbuf *text, struct slice member, struct optional_decimal decimal)
{
    strbuf_put(text, member);
    if (decimal.is_set)
        decimal_put(text, decimal.value, DECIMAL_SCALE_MICRO);
    else
        strbuf_lit(text, "null");
}

/* Of a name of ours, which needs no escapes. */
static void put_name(struct strbuf *text, struct slice member, struct slice name)
{
    strbuf_put(text, member);
    strbuf_put(text, name);
}

static void put_times(struct strbuf *text, int64_t created_ms, int64_t updated_ms)
{
    char iso[CLOCK_ISO_LEN];
    clock_format_iso(created_ms, iso);
    put_name(text, SLICE("\",\"created_at\":\""), slice_make(iso, CLOCK_ISO_LEN));
    if (updated_ms != created_ms)
        clock_format_iso(updated_ms, iso);
    put_name(text, SLICE("\",\"updated_at\":\""), slice_make(iso, CLOCK_ISO_LEN));
    strbuf_lit(text, "\"}");
}

/* Without printf: tens of thousands of these are written in a second. */
void intake_put_order(struct strbuf *text, const struct intake_names *names, const struct intake_row *order)
{
    strbuf_lit(text, "{\"id\":");
    intake_put_uuid(text, &names->orders, order->id);
    strbuf_lit(text, ",\"user_id\":");
    intake_put_uuid(text, &names->accounts, order->account_id);
    strbuf_lit(text, ",\"symbol\":");
    strbuf_put_json(text, order->symbol);
    put_name(text, SLICE(",\"side\":\""), intake_side_name(order->side));
    put_name(text, SLICE("\",\"order_type\":\""), intake_type_name(order->type));
    put_decimal(text, SLICE("\",\"quantity\":"), (struct optional_decimal){true, order->quantity});
    put_decimal(text, SLICE(",\"price\":"), order->price);
    put_decimal(text, SLICE(",\"stop_price\":"), order->stop_price);
    put_decimal(text, SLICE(",\"trailing_stop_pct\":"), order->trailing_stop_pct);
    put_decimal(text, SLICE(",\"iceberg_qty\":"), order->iceberg_qty);
    strbuf_lit(text, ",\"time_in_force\":");
    strbuf_put_json(text, order->time_in_force);
    put_name(text, SLICE(",\"status\":\""), intake_status_name(order->status));
    put_times(text, order->created_ms, order->updated_ms);
}
