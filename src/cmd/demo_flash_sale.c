/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `doorbuster demo`: lets a crowd rush a sale, audits the store while the server runs, stops the server,
 * audits again.
 */
#include <stdio.h>

#include "base/clock.h"
#include "cmd/cmd.h"
#include "cmd/demo.h"

enum { KEEP_STOCK = 1000 };

#define RUSH_SKU "DEMO-RUSH"
#define KEEP_SKU "DEMO"

static void run_rush(struct stage *stage, const struct params *params, const char *journal_path)
{
    char url[64], users[24], stock[24];
    (void)snprintf(url, sizeof url, "http://%s", stage->address);
    (void)snprintf(users, sizeof users, "%lld", (long long)params->demo_users);
    (void)snprintf(stock, sizeof stock, "%lld", (long long)params->demo_stock);
    const char *const argv[] = {"rush", "purchase-load", "--url", url, "--sku", RUSH_SKU, "--users", users,
        "--stock", stock, "--journal", journal_path, NULL};
    stage_say("\n-- rush: %s buyers at once for %s units", users, stock);
    stage_judge(stage, stage_run(stage, argv, NULL) == EXIT_WELL, "the crowd was served as promised");
}

/* `is_only_rush`: nobody but the rush has bought, so that the journal tells everything. `is_again`: the
 * invariants have been shown; now only what fails is news. */
static void run_verify(
    struct stage *stage, const char *journal_path, const char *when, bool is_only_rush, bool is_again)
{
    const struct stage_audit audit = {
        .journals = {journal_path}, .when = when, .is_complete = is_only_rush, .is_quiet = is_again};
    stage_judge(stage, stage_run_audit(stage, &audit, NULL) == EXIT_WELL,
        "every invariant holds in the store %s", when);
}

/* A sale that runs for a day and has stock left, for whoever wants to try. */
static bool open_sale(struct stage *stage)
{
    char body[256], start[CLOCK_ISO_LEN], end[CLOCK_ISO_LEN], reply[STAGE_REPLY_SIZE];
    struct slice said;
    int64_t now_ms = clock_wall_ms();
    clock_format_iso(now_ms - 60000, start);
    clock_format_iso(now_ms + 86400000, end);
    (void)snprintf(body, sizeof body,
        "{\"sku\":\"" KEEP_SKU
        "\",\"productName\":\"Try me\",\"initialStock\":%d,\"startTime\":\"%.*s\",\"endTime\":"
        "\"%.*s\"}",
        KEEP_STOCK, CLOCK_ISO_LEN, start, CLOCK_ISO_LEN, end);
    return stage_ask(stage, "POST", "/api/v1/products", body, reply, &said) == 201;
}

static void keep_serving(struct stage *stage)
{
    if (!open_sale(stage)) {
        stage_judge(stage, false, "a sale to try by hand was put up");
        return;
    }
    stage_say("\n-- your turn: %d units of " KEEP_SKU " are on sale on http://%s\n\n"
              "  curl 'http://%s/api/v1/sales?sku=" KEEP_SKU "'\n"
              "  curl http://%s/api/v1/purchases -H 'X-User-Id: me' -H 'Content-Type: application/json' "
              "-d '{\"sku\":\"" KEEP_SKU "\"}'\n"
              "  curl 'http://%s/api/v1/purchases?sku=" KEEP_SKU "' -H 'X-User-Id: me'\n\n"
              "The admin key is %s, the store %s.\nCtrl-C stops the server, audits once more and removes "
              "everything.",
        KEEP_STOCK, stage->address, stage->address, stage->address, stage->address, stage->admin_key,
        stage->store_path);
    if (!stage_await_signal(stage))
        stage_judge(stage, false, "the server kept running");
}

enum err demo_flash_sale(struct stage *stage, const struct params *params, struct error *error)
{
    static const char *const no_flags[] = {NULL};
    char journal_path[STAGE_PATH_SIZE];
    stage_path(stage, "rush.journal", journal_path);
    enum err err = stage_start_server(stage, no_flags, error);
    if (err != ERR_NONE)
        return stage->signal_number == 0 ? err : ERR_NONE;
    run_rush(stage, params, journal_path);
    if (stage->signal_number == 0)
        run_verify(stage, journal_path, "under a running server", true, false);
    if (stage->signal_number == 0 && params->keep)
        keep_serving(stage);
    stage_stop_server(stage, false);
    if (stage->signal_number == 0)
        run_verify(stage, journal_path, "at rest", !params->keep, true);
    return ERR_NONE;
}
